"""CUDA streams that have one owner each, and the lock of what stops a whole GPU."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

MOST = 32
"""torch has so many streams of one device and priority, and gives them away again when they run out."""

DEVICE_WIDE = threading.RLock()
"""Held by whoever records a graph or compiles: both wait for all work of a device, which spoils another's recording."""

_Kind = tuple[int, int]
# A finalizer gives streams back, and may run within either function.
_lock = threading.RLock()
_free: defaultdict[_Kind, list[torch.cuda.Stream]] = defaultdict(list)
_n_made: Counter[_Kind] = Counter()
_launch_locks: dict[tuple[int, int], threading.Lock] = {}
"""By the device and the stream."""


def take(device: str, priority: int) -> torch.cuda.Stream | None:
    """A stream that nobody else has, until it is given back; None if there are no more. -1 goes before 0."""
    index = torch.device(device).index
    kind = (torch.cuda.current_device() if index is None else index, priority)
    with _lock:
        if _free[kind]:
            return _free[kind].pop()
        if _n_made[kind] == MOST:
            return None
        _n_made[kind] += 1
        return torch.cuda.Stream(torch.device("cuda", kind[0]), priority=priority)  # type: ignore[no-untyped-call]


def give_back(stream: torch.cuda.Stream) -> None:
    """What was launched on it comes before what its next owner launches."""
    with _lock:
        _free[stream.device.index, stream.priority].append(stream)


@contextmanager
def launching(device: str) -> Iterator[None]:
    """While one thread launches a batch on a stream, others wait: by turns, both would be done at the end of both.

    Then nothing would be left to compute while their answers are made. Does nothing on a CPU.
    """
    if not device.startswith("cuda"):
        yield
        return
    stream = torch.cuda.current_stream(device)
    with _launch_locks.setdefault((stream.device.index, stream.cuda_stream), threading.Lock()):
        yield
