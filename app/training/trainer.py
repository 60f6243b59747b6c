"""The process that trains one job: `python -m app.training.trainer JOB_FOLDER`.

It writes messages to its standard output, one JSON object a line, and everything else to its standard error. It ends
when its standard input is closed, so that it does not outlive the server.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from app.core.errors import ManyvecError
from app.core.processors import n_processors
from app.training.task import RESULT, Reporter, TrainingFailedError, TrainingTask
from app.training.whole import is_disk_full, is_whole, remove_partial

NICENESS = 10
"""Serving goes first."""
PAGE_FAMILIES = frozenset({"colqwen2.5", "colqwen2", "colpali"})
TEXT_FAMILIES = frozenset({"e5", "bge-m3"})

OUT_OF_MEMORY = (
    "There is not enough memory for this training: lower mini_batch_size or max_seq_length, or train with LoRA."
)
DISK_FULL = "The disk is full: free some space where the models are kept, then start or resume the job."

Train = Callable[[TrainingTask, Path, Reporter], None]


def main(arguments: Sequence[str]) -> int:
    """Train the job in the folder that is named; 0 if its result is whole."""
    folder = Path(arguments[0]).resolve()
    reporter = Reporter(_private_stdout())
    _end_with_server()
    _yield_to_server()
    return run(folder, reporter)


def run(folder: Path, reporter: Reporter) -> int:
    """Train, and report how it ended: 0 or 1."""
    try:
        if not is_whole(folder / RESULT):
            remove_partial(folder)
            train(TrainingTask.read(folder), folder, reporter)
    except Exception as error:
        with suppress(OSError):  # The log may be on the disk that is full.
            traceback.print_exc()
        reporter.failed(reason_of(error))
        return 1
    reporter.finished()
    return 0


def train(task: TrainingTask, folder: Path, reporter: Reporter) -> None:
    """Train a job of any family."""
    set_environment(task.device)
    if task.device.startswith("cuda"):
        task = replace(task, device="cuda:0")  # It is the only one that is seen.
    _share_cores()
    train_family(task.family)(task, folder, reporter)


def train_family(family: str) -> Train:
    """What trains a family; imported here, since it takes torch and more."""
    if family in TEXT_FAMILIES:
        from app.training.text import train_texts

        return train_texts
    if family in PAGE_FAMILIES:
        from app.training.visual import train_pages

        return train_pages
    raise TrainingFailedError(f"Models of the family {family} cannot be trained here.")


def reason_of(error: Exception) -> str:
    """What to tell the person who started the job."""
    if isinstance(error, TrainingFailedError | ManyvecError):
        return str(error)
    if is_disk_full(error):
        return DISK_FULL
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_out_of_memory(error)):
        return OUT_OF_MEMORY
    return f"The training stopped at an unexpected error ({type(error).__name__}); the job's log says where."


def set_environment(device: str) -> None:
    """Before torch is imported: one device, and no network."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "WANDB_MODE": "disabled"})
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    index = int(device.partition(":")[2] or 0)
    if device.startswith("cuda"):
        # transformers would train on all devices that it sees.
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[index] if index < len(seen) else str(index)
    elif device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _is_out_of_memory(error: RuntimeError) -> bool:
    from app.families.torch_model import is_out_of_memory

    return is_out_of_memory(error)


def _private_stdout() -> IO[str]:
    """Where messages go. What libraries print to the standard output goes to the log."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def _end_with_server() -> None:
    """End at once when the other end of the standard input is closed."""
    if sys.stdin is not None and not sys.stdin.isatty():
        threading.Thread(target=_wait_for_end_of_input, daemon=True).start()


def _wait_for_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def _yield_to_server() -> None:
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def _share_cores() -> None:
    """Leave a core to the server, unless it was said how many to use."""
    import torch

    # Unless somebody has chosen a number; `app/__init__.py` sets all of a container's.
    if os.environ.get("OMP_NUM_THREADS") in (None, str(n_processors())):
        torch.set_num_threads(max(1, n_processors() - 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
