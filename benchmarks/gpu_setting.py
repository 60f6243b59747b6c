"""What the parts of `benchmarks.gpu` share: the device, its peak, batches, and the server on it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from app.families.base import LoadOptions, Prepared
from app.families.torch_model import DTYPES
from benchmarks.checkpoints import CACHE
from benchmarks.report import Table
from benchmarks.servers import OWN_THREADS, Ours

PEAK_SIDES = (4096, 8192, 16384)
TINY_PEAK_SIDES = (256,)
PEAK_REPEATS = 20
ROUNDS = 5
CONNECTIONS = 64

SERVER_SETTINGS = {"LOAD_WAIT_S": "600"}
"""Beside the defaults. What the environment says comes before them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how large to measure."""

    device: str
    dtype: str
    tiny: bool
    """Smallest shapes and counts: to see on any machine that the whole benchmark runs. Its figures say nothing."""

    @property
    def options(self) -> LoadOptions:
        return LoadOptions(device=self.device, dtype=self.dtype)

    @property
    def batch_tokens(self) -> int:
        """What the engine brings together by default."""
        return 16384 if self.device.startswith("cuda") else 1024

    @property
    def rounds(self) -> int:
        return 1 if self.tiny else ROUNDS

    @property
    def connections(self) -> int:
        return 4 if self.tiny else CONNECTIONS


class GpuServer(Ours):
    """One checkpoint in `CACHE` on the device of the setting, under the name `model`."""

    ready_path = "/ready"
    family = "e5"

    def __init__(self, checkpoint: Path, setting: Setting) -> None:
        super().__init__(checkpoint)
        self._setting = setting

    def environment(self) -> dict[str, str]:
        models = CACHE / f"gpu-{self.family}.toml"
        models.write_text(
            f'[[model]]\nname = "model"\nfamily = "{self.family}"\ntrained = false\n'
            f'checkpoint = "{self.checkpoint.relative_to(CACHE).as_posix()}"\n'
            f'device = "{self._setting.device}"\ndtype = "{self._setting.dtype}"\n'
        )
        settings = {name: os.environ.get(name, value) for name, value in SERVER_SETTINGS.items()}
        paths = {"MODELS_FILE": str(models), "MODELS_DIR": str(CACHE), "PRELOAD": "all"}
        return {**settings, **paths, **OWN_THREADS, "PORT": str(self.port)}


def built(folder: Path, build: Callable[[Path], None]) -> Path:
    """The checkpoint's folder, which `build` has written unless it is there; it appears once it is whole."""
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            unfinished = Path(scratch) / folder.name
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    return folder


def measure_peak(setting: Setting, table: Table) -> float:
    """FLOP/s of the fastest square product, in the best of the rounds: what shares are measured against."""
    best = 0.0
    for side in TINY_PEAK_SIDES if setting.tiny else PEAK_SIDES:
        left, right = (torch.randn(side, side, device=setting.device, dtype=DTYPES[setting.dtype]) for _ in range(2))
        run = _products(left, right)
        run()
        seconds = min(timed(run, setting.device) for _ in range(setting.rounds))
        rate = 2 * side**3 * PEAK_REPEATS / seconds
        table.row(side=side, tflops=rate / 1e12)
        best = max(best, rate)
    return best


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds until everything that `run` began is done."""
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: str) -> None:
    """Wait for a GPU; a CPU has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def batches(items: Iterable[Prepared], most_tokens: int) -> Iterator[list[Prepared]]:
    """In order, at most that many tokens each; a larger item alone."""
    batch: list[Prepared] = []
    for item in items:
        if batch and sum(other.n_tokens for other in batch) + item.n_tokens > most_tokens:
            yield batch
            batch = []
        batch.append(item)
    yield batch


def share(useful_flops: float, seconds: float, peak: float) -> str:
    """Of the peak, in percent."""
    return f"{useful_flops / seconds / peak:.1%}"


def _products(left: torch.Tensor, right: torch.Tensor) -> Callable[[], None]:
    result = torch.empty_like(left)

    def run() -> None:
        for _ in range(PEAK_REPEATS):
            torch.mm(left, right, out=result)

    return run
