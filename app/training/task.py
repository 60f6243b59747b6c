"""What the server tells the trainer, and what the trainer tells the server."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from pydantic import TypeAdapter

from app.families.base import Checkpoint
from app.training.options import LoraOptions, Method, TrainingOptions

TASK_FILE = "task.json"
DATASET_FILE = "dataset.jsonl"
"""Of texts: `{"query": str, "positive": str}` a line, all or none of them with `"negative": str`.
Of pages: `{"query": str, "image": str}` a line, `image` a file in the folder `images/` beside it."""
CHECKPOINTS = "checkpoints"
"""Folder of what a training goes on from."""
RESULT = "result"
"""Folder of the finished checkpoint; there only when it is whole."""
LOG_FILE = "log.txt"


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Everything that a trainer needs to know; `task.json` in the job's folder."""

    job_id: str
    model_name: str
    """Served name of the result."""
    family: str
    """A key of `CATALOG`."""
    base_name: str
    """The whole base as the models folder calls it: what an adapter's configuration names."""
    base_path: Path
    """Folder of the whole base."""
    method: Method
    device: str
    """`cpu`, `cuda:0`, ..."""
    options: TrainingOptions
    lora: LoraOptions | None = None
    """None: full fine-tuning."""
    adapter_path: Path | None = None
    """Folder of the adapter over the base that is trained further, if it is not the base itself."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What is trained, as families load it."""
        if self.adapter_path is None:
            return Checkpoint(self.base_path)
        return Checkpoint(self.adapter_path, self.base_path)

    def write(self, folder: Path) -> None:
        (folder / TASK_FILE).write_bytes(TypeAdapter(type(self)).dump_json(self, indent=1))

    @classmethod
    def read(cls, folder: Path) -> Self:
        return TypeAdapter(cls).validate_json((folder / TASK_FILE).read_bytes())


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training is."""

    step: int
    """Optimizer steps made."""
    n_steps: int
    epoch: float
    loss: float
    """Mean since the last report."""
    learning_rate: float
    examples_per_second: float
    seconds_left: float


class TrainingFailedError(Exception):
    """The training cannot go on; the message is for the person who started it and says what to do."""


class Reporter:
    """Writes the trainer's messages, one JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def stage(self, message: str) -> None:
        """What the trainer does now, in words."""
        self._write({"event": "stage", "message": message})

    def progress(self, progress: Progress) -> None:
        self._write({"event": "progress", **asdict(progress)})

    def evaluation(self, when: str, figures: Mapping[str, float]) -> None:
        """Figures on the held-out pairs `before` or `after`: `loss`, `ndcg@10`, `recall@1`, `n_pairs`."""
        self._write({"event": "evaluation", "when": when, "figures": dict(figures)})

    def checkpoint(self, step: int) -> None:
        """A checkpoint of this step is whole on disk."""
        self._write({"event": "checkpoint", "step": step})

    def finished(self) -> None:
        """The result is whole on disk."""
        self._write({"event": "finished"})

    def failed(self, reason: str) -> None:
        self._write({"event": "failed", "reason": reason})

    def _write(self, message: Mapping[str, object]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()
