"""Graphs of fixed sizes compute batches of any; what records them is faked here, `test_gpu.py` has the real ones."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from app.families import cuda_graphs
from app.families.cuda_graphs import GraphedForward, Size, size_for
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


@pytest.fixture
def graphed(monkeypatch: pytest.MonkeyPatch) -> tuple[GraphedForward, list[Size]]:
    """A forward pass by fake graphs, and the sizes that were recorded."""
    recorded: list[Size] = []

    def record(self: GraphedForward, size: Size, stream: int) -> Any:
        recorded.append(size)
        ids, positions = torch.zeros(2, size.n_tokens, dtype=torch.int64)
        cumulative = torch.zeros(size.n_texts + 1, dtype=torch.int32)
        graph = Replayed(lambda: forward(ids, positions, Bounds(cumulative, size.longest)))
        return cuda_graphs._Recording(graph, ids, positions, cumulative, graph.result)  # type: ignore[arg-type]

    monkeypatch.setattr(GraphedForward, "_record", record)
    use_no_streams(monkeypatch)
    return GraphedForward(forward, "cpu"), recorded


def use_no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        cuda_stream = 0

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream)


def compute(graphed: GraphedForward, lengths: Sequence[int]) -> None:
    texts = [torch.arange(n) + n for n in lengths]
    positions = [torch.arange(n) for n in lengths]
    expected = forward(torch.cat(texts), torch.cat(positions), Bounds.of(lengths, "cpu"))
    torch.testing.assert_close(graphed(texts, positions), expected, rtol=0, atol=0)


def test_batches_of_all_sizes_in_any_order(graphed: tuple[GraphedForward, list[Size]]) -> None:
    forward, recorded = graphed
    for lengths in ([60], [3], [20, 30], [1] * 8, [61], [400, 2, 80], [5], [20000], [3] * 600, [7, 9]):
        compute(forward, lengths)
    # Recorded once each, and not for what is too large.
    assert recorded == [Size(64, 1, 128), Size(64, 8, 128), Size(512, 8, 512)]


def test_results_stay_what_they_are_when_the_graph_is_replayed(graphed: tuple[GraphedForward, list[Size]]) -> None:
    forward, _ = graphed
    first = forward([torch.tensor([1, 2])], [torch.tensor([0, 1])])
    before = first.clone()
    forward([torch.tensor([7, 8, 9])], [torch.tensor([0, 1, 2])])
    assert torch.equal(first, before)


def test_where_nothing_can_be_recorded_kernels_are_launched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def record(*_: Any) -> Any:
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(GraphedForward, "_record", record)
    use_no_streams(monkeypatch)
    graphed = GraphedForward(forward, "cpu")
    for lengths in ([5], [3, 4], [200]):
        compute(graphed, lengths)
    assert len(tries) == 1
    assert "one by one" in caplog.text
