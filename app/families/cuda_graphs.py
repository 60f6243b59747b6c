"""An encoder's launches as CUDA graphs: recorded once for a size, launched together ever after.

To launch the kernels of 24 layers one by one takes Python longer than a GPU needs to compute a query, and threads that
launch hold up those that answer (docs/decisions/0008-gpu.md).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from app.families.torch_model import cat_to_device, to_device
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
    tokens = _grown(_FEWEST.n_tokens, 2, min(n_tokens, _STEP_OF_TOKENS))
    if n_tokens > _STEP_OF_TOKENS:
        tokens = -(-n_tokens // _STEP_OF_TOKENS) * _STEP_OF_TOKENS
    return Size(tokens, _grown(_FEWEST.n_texts, 8, n_texts), _grown(_FEWEST.longest, 4, longest))


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
        """[n_tokens, dim]. Rows that belong to no text are computed with what lies there, and left out."""
        n_tokens = len(ids)
        self.ids[:n_tokens].copy_(ids)
        self.positions[:n_tokens].copy_(positions)
        self.cumulative.copy_(cumulative)
        self.graph.replay()
        return self.hidden[:n_tokens].clone()


class GraphedForward:
    """Calls `forward` by graphs, each recorded at the first batch of its size on a stream."""

    def __init__(self, forward: Forward, device: str) -> None:
        self._forward = forward
        self._device = device
        self._recordings: dict[tuple[int, Size], _Recording] = {}
        self._pools: dict[int, Any] = {}
        """Memory of a stream's graphs, which never run at the same time."""
        self._may_record = True
        # A graph's memory holds one batch: copies to it, the graph and the copy of its result are launched together.
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[Tensor], positions: Sequence[Tensor]) -> Tensor:
        """Ids and positions of each text on the CPU to the hidden states of all, [n_tokens, dim]."""
        lengths = [len(text) for text in texts]
        ids = cat_to_device(texts, self._device)
        places = cat_to_device(positions, self._device)
        size = size_for(lengths) if self._may_record else None
        if size is None:
            return self._forward(ids, places, Bounds.of(lengths, self._device))
        ends = list(accumulate(lengths))
        ends += [ends[-1]] * (size.n_texts - len(lengths))
        cumulative = to_device(torch.tensor([0, *ends], dtype=torch.int32), self._device)
        with self._lock:
            recording = self._recording(size)
            if recording is not None:
                return recording.replay(ids, places, cumulative)
        return self._forward(ids, places, Bounds.of(lengths, self._device))

    def _recording(self, size: Size) -> _Recording | None:
        """The graph of that size on this thread's stream; None if none can be recorded here."""
        stream = torch.cuda.current_stream(self._device).cuda_stream
        if (stream, size) not in self._recordings and self._may_record:
            try:
                self._recordings[stream, size] = self._record(size, stream)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                log.warning("no CUDA graphs of this encoder: its kernels are launched one by one", exc_info=True)
                self._may_record = False
        return self._recordings.get((stream, size))

    def _record(self, size: Size, stream: int) -> _Recording:
        ids = torch.zeros(size.n_tokens, dtype=torch.int64, device=self._device)
        positions = torch.zeros_like(ids)
        cumulative = torch.full((size.n_texts + 1,), size.n_tokens, dtype=torch.int32, device=self._device)
        cumulative[0] = 0
        bounds = Bounds(cumulative, min(size.longest, size.n_tokens))
        # What libraries set up at a first call cannot be recorded.
        self._forward(ids, positions, bounds)
        pool = self._pools.setdefault(stream, torch.cuda.graph_pool_handle())
        graph = torch.cuda.CUDAGraph()
        # Other threads go on launching meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            hidden = self._forward(ids, positions, bounds)
        return _Recording(graph, ids, positions, cumulative, hidden)
