"""An encoder's launches as CUDA graphs: recorded once for a size, launched together ever after.

To launch the kernels of 24 layers one by one takes Python longer than a GPU needs to compute a query, and threads that
launch hold up those that answer (docs/decisions/0008-gpu.md).
"""

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from app.families.cuda_streams import DEVICE_WIDE, give_back, take
from app.families.torch_model import to_device
from app.families.varlen_attention import Bounds

log = logging.getLogger(__name__)

Forward = Callable[[Tensor, Tensor, Bounds], Tensor]
"""Ids and positions [n_tokens] int64 and the texts' bounds to hidden states [n_tokens, dim]."""


class Size(NamedTuple):
    """What a graph has room for."""

    n_tokens: int
    n_texts: int
    longest: int


MOST = Size(16384, 512, 8192)
"""What is larger is not recorded: its kernels take far longer than their launches, and graphs hold memory."""
_FEWEST = Size(64, 1, 128)
_STEP_OF_TOKENS = 2048
"""From here on sizes grow by this much and no longer double, so that little room is left over."""


def size_for(lengths: Sequence[int]) -> Size | None:
    """The smallest size of a graph with room for texts of so many tokens; None if there is none."""
    n_tokens, n_texts, longest = sum(lengths), len(lengths), max(lengths)
    if n_tokens > MOST.n_tokens or n_texts > MOST.n_texts or longest > MOST.longest:
        return None
    doubled, stepped = _grown(_FEWEST.n_tokens, 2, n_tokens), -(-n_tokens // _STEP_OF_TOKENS) * _STEP_OF_TOKENS
    return Size(min(doubled, stepped), _grown(_FEWEST.n_texts, 8, n_texts), _grown(_FEWEST.longest, 4, longest))


def _grown(start: int, factor: int, least: int) -> int:
    """The first of start, start * factor, start * factor ** 2, ... that is no less than `least`."""
    while start < least:
        start *= factor
    return start


@dataclass(frozen=True, slots=True)
class _Recording:
    """A graph with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    ids: Tensor
    positions: Tensor
    cumulative: Tensor
    """[n_texts + 1]; texts that there is room for and that are not there have no tokens."""
    hidden: Tensor

    def replay(self, ids: Tensor, positions: Tensor, cumulative: Tensor) -> Tensor:
        """[n_tokens, dim] float32. Rows that belong to no text are computed with what lies there, and left out."""
        n_tokens = len(ids)
        self.ids[:n_tokens].copy_(ids)
        self.positions[:n_tokens].copy_(positions)
        self.cumulative.copy_(cumulative)
        self.graph.replay()
        # A copy: the next replay writes into the same memory.
        return self.hidden[:n_tokens].to(torch.float32, copy=True)


@dataclass(frozen=True, slots=True)
class _Recorder:
    """What the graphs that are replayed on one stream share; they never run at the same time."""

    stream: torch.cuda.Stream
    """They are recorded on it: its priority becomes theirs, and cuBLAS keeps memory for it that they use."""
    pool: Any


class GraphedForward:
    """Computes forward passes of one encoder by graphs, each recorded at the first batch of its size on a stream."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._recorders: dict[int, _Recorder | None] = {}
        """By the stream of replays; None: there are no more streams."""
        self._recordings: dict[tuple[int, Size], _Recording | None] = {}
        """None: for that size the GPU's memory does not suffice, or there was no stream."""
        self._may_record = True
        self._locks: dict[int, threading.Lock] = {}
        """By the stream of replays: a graph's memory holds one batch, and copies to it, the graph and the copy of its
        result are launched together. Queries wait for no launch of bulk work, but while a graph is recorded."""
        weakref.finalize(self, _give_streams_back, self._recorders, self._recordings).atexit = False

    def __call__(self, forward: Forward, ids: Tensor, positions: Tensor, lengths: Sequence[int]) -> Tensor:
        """Ids and positions, [n_tokens] each, of texts of such lengths to hidden states, [n_tokens, dim] float32.

        `forward` is the same in every call. It is not kept, or an encoder and its graphs would keep each other alive.
        """
        size = size_for(lengths) if self._may_record else None
        if size is not None:
            ends = list(accumulate(lengths))
            ends += [ends[-1]] * (size.n_texts - len(lengths))
            cumulative = to_device(torch.tensor([0, *ends], dtype=torch.int32), self._device)
            stream = torch.cuda.current_stream(self._device)
            with self._locks.setdefault(stream.cuda_stream, threading.Lock()):
                recording = self._recording(forward, size, stream)
                if recording is not None:
                    return recording.replay(ids, positions, cumulative)
        return forward(ids, positions, Bounds.of(lengths, self._device)).float()

    def _recording(self, forward: Forward, size: Size, stream: torch.cuda.Stream) -> _Recording | None:
        """The graph of that size for replays on that stream; None if none can be recorded."""
        key = (stream.cuda_stream, size)
        if key not in self._recordings and self._may_record:
            try:
                self._recordings[key] = self._record(forward, size, stream)
            except torch.OutOfMemoryError:
                log.warning("no CUDA graph for %s: the GPU's memory does not suffice", size)
                self._recordings[key] = None
            except RuntimeError:
                log.warning("no CUDA graphs of this encoder: its kernels are launched one by one", exc_info=True)
                self._may_record = False
        return self._recordings.get(key)

    def _record(self, forward: Forward, size: Size, stream: torch.cuda.Stream) -> _Recording | None:
        recorder = self._recorder(stream)
        if recorder is None:
            return None
        with DEVICE_WIDE, torch.cuda.device(recorder.stream.device):
            ids = torch.zeros(size.n_tokens, dtype=torch.int64, device=self._device)
            positions = torch.zeros_like(ids)
            cumulative = torch.full((size.n_texts + 1,), size.n_tokens, dtype=torch.int32, device=self._device)
            cumulative[0] = 0
            bounds = Bounds(cumulative, min(size.longest, size.n_tokens))
            # What libraries set up at a first call cannot be recorded.
            forward(ids, positions, bounds)
            graph = torch.cuda.CUDAGraph()
            with _recording_into(graph, recorder):
                hidden = forward(ids, positions, bounds)
        return _Recording(graph, ids, positions, cumulative, hidden)

    def _recorder(self, stream: torch.cuda.Stream) -> _Recorder | None:
        key = stream.cuda_stream
        if key not in self._recorders:
            own = take(self._device, stream.priority)
            self._recorders[key] = _Recorder(own, torch.cuda.graph_pool_handle()) if own else None
        return self._recorders[key]


@contextmanager
def _recording_into(graph: torch.cuda.CUDAGraph, recorder: _Recorder) -> Iterator[None]:
    """As `torch.cuda.graph`, which leaves the thread on another stream and the allocator recording when it fails."""
    before = torch.cuda.current_stream(recorder.stream.device)
    try:
        # Other threads go on launching meanwhile.
        with torch.cuda.graph(graph, pool=recorder.pool, stream=recorder.stream, capture_error_mode="thread_local"):
            yield
    except BaseException:
        with suppress(Exception):
            torch._C._cuda_endAllocateToPool(recorder.stream.device.index, recorder.pool)
        raise
    finally:
        torch.cuda.set_stream(before)


def _give_streams_back(
    recorders: dict[int, _Recorder | None], recordings: dict[tuple[int, Size], _Recording | None]
) -> None:
    """Once nobody can replay the graphs: they go first."""
    recordings.clear()
    for recorder in recorders.values():
        if recorder is not None:
            give_back(recorder.stream)
