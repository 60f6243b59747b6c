"""Graphs of fixed sizes compute batches of any; what records them is faked here, `test_gpu.py` has the real ones."""

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from app.families import cuda_graphs
from app.families.cuda_graphs import Forward, GraphedForward, Size, size_for
from app.families.varlen_attention import Bounds


@pytest.mark.parametrize(
    ("lengths", "size"),
    [
        ([5], Size(64, 1, 128)),
        ([64], Size(64, 1, 128)),
        ([65], Size(128, 1, 128)),
        ([512] * 4, Size(2048, 8, 512)),
        ([512] * 4 + [1], Size(4096, 8, 512)),
        ([512] * 32, Size(16384, 64, 512)),
        ([30] * 512, Size(16384, 512, 128)),
        ([8000], Size(8192, 1, 8192)),
        ([5] * 513, None),
        ([512] * 33, None),
        ([9000], None),
    ],
)
def test_a_size_has_room(lengths: list[int], size: Size | None) -> None:
    assert size_for(lengths) == size


def forward(ids: Tensor, positions: Tensor, bounds: Bounds) -> Tensor:
    """Of each token the sum over its text, and its position; of a token of no text nothing."""
    ends = bounds.cumulative.tolist()
    hidden = torch.full((len(ids), 2), torch.nan)
    for start, end in pairwise(ends):
        hidden[start:end] = torch.stack(
            (ids[start:end].sum().expand(end - start), positions[start:end]), dim=-1
        ).float()
    return hidden


class Replayed:
    """In place of a graph: computes again into the same memory."""

    def __init__(self, compute: Callable[[], Tensor]) -> None:
        self.compute = compute
        self.result = compute()

    def replay(self) -> None:
        self.result.copy_(self.compute())


class Stream:
    """In place of a CUDA stream."""

    priority = 0

    def __init__(self, number: int = 0) -> None:
        self.cuda_stream = number


@pytest.fixture(autouse=True)
def no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread has a stream by its own number."""
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(threading.get_ident()))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """The sizes of which fake graphs were recorded."""
    sizes: list[Size] = []

    def record(self: GraphedForward, forward: Forward, size: Size, stream: Any) -> Any:
        sizes.append(size)
        ids, positions = torch.zeros(2, size.n_tokens, dtype=torch.int64)
        cumulative = torch.zeros(size.n_texts + 1, dtype=torch.int32)
        graph = Replayed(lambda: forward(ids, positions, Bounds(cumulative, size.longest)))
        return cuda_graphs._Recording(graph, ids, positions, cumulative, graph.result)  # type: ignore[arg-type]

    monkeypatch.setattr(GraphedForward, "_record", record)
    return sizes


def compute(graphed: GraphedForward, lengths: Sequence[int]) -> None:
    ids = torch.cat([torch.arange(n) + n for n in lengths])
    positions = torch.cat([torch.arange(n) for n in lengths])
    expected = forward(ids, positions, Bounds.of(lengths, "cpu"))
    torch.testing.assert_close(graphed(forward, ids, positions, lengths), expected, rtol=0, atol=0)


def test_batches_of_all_sizes_in_any_order(recorded: list[Size]) -> None:
    graphed = GraphedForward("cpu")
    for lengths in ([60], [3], [20, 30], [1] * 8, [61], [400, 2, 80], [5], [20000], [3] * 600, [7, 9]):
        compute(graphed, lengths)
    # Recorded once each, and not for what is too large.
    assert recorded == [Size(64, 1, 128), Size(64, 8, 128), Size(512, 8, 512)]


def test_results_stay_what_they_are_when_the_graph_is_replayed(recorded: list[Size]) -> None:
    graphed = GraphedForward("cpu")
    first = graphed(forward, torch.tensor([1, 2]), torch.tensor([0, 1]), [2])
    before = first.clone()
    graphed(forward, torch.tensor([7, 8, 9]), torch.tensor([0, 1, 2]), [3])
    assert torch.equal(first, before)


def test_queries_do_not_wait_while_bulk_work_is_launched(recorded: list[Size]) -> None:
    graphed, other_launches = GraphedForward("cpu"), []

    def bulk(ids: Tensor, positions: Tensor, bounds: Bounds) -> Tensor:
        # Not when it is recorded, for which queries do wait.
        if recorded == [Size(256, 1, 512), Size(64, 1, 128)]:
            launched = threading.Event()
            threading.Thread(target=lambda: (compute(graphed, [3]), launched.set()), daemon=True).start()
            other_launches.append(launched.wait(10))
        return forward(ids, positions, bounds)

    def launch() -> None:
        graphed(bulk, torch.arange(200), torch.arange(200), [200])

    launch()
    compute(graphed, [3])
    launch()
    assert other_launches == [True]


@pytest.mark.parametrize(
    ("error", "tries", "warning"),
    [
        (RuntimeError("operation not permitted when stream is capturing"), 1, "one by one"),
        (torch.OutOfMemoryError("CUDA out of memory"), 2, "memory does not suffice"),
    ],
)
def test_what_cannot_be_recorded_is_computed_without(
    error: Exception, tries: int, warning: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A size that the memory does not suffice for is tried once; after another error nothing is recorded any more."""
    tried = []

    def record(self: GraphedForward, forward: Forward, size: Size, stream: Any) -> Any:
        tried.append(size)
        raise error

    monkeypatch.setattr(GraphedForward, "_record", record)
    graphed = GraphedForward("cpu")
    for lengths in ([5], [6], [200], [7], [201]):
        compute(graphed, lengths)
    assert len(tried) == tries
    assert warning in caplog.text


def test_the_forward_pass_is_not_kept_alive(recorded: list[Size], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an encoder and its graphs would be on the GPU until the garbage is collected."""
    given_back: list[object] = []
    monkeypatch.setattr(cuda_graphs, "give_back", given_back.append)
    recorder = cuda_graphs._Recorder(Stream(), 0)  # type: ignore[arg-type]

    class Encoder:
        def __init__(self) -> None:
            self.graphs = GraphedForward("cpu")
            self.graphs._recorders[0] = recorder

        def forward(self, ids: Tensor, positions: Tensor, bounds: Bounds) -> Tensor:
            return forward(ids, positions, bounds)

        def __call__(self) -> None:
            # Too large to be recorded by the fake, which does keep what it is given.
            self.graphs(self.forward, torch.arange(20_000), torch.arange(20_000), [20_000])

    encoder = Encoder()
    encoder()
    gone = weakref.ref(encoder)
    gc.disable()
    try:
        del encoder
        assert gone() is None
        assert given_back == [recorder.stream]
    finally:
        gc.enable()
