"""A server around training that serves nothing, and jobs whose trainer only pretends."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.core.errors import ModelNotFoundError
from app.engine.config import ModelConfig
from app.families.base import Checkpoint
from app.training.admission import JobRequest
from app.training.jobs import ENDED, Job, JobStatus
from app.training.options import Method, TrainingOptions
from app.training.pairs import read_pairs, write_pairs
from app.training.service import Training

REQUEST = JobRequest(model_name="mine", base_model="base", method=Method.FULL, options=TrainingOptions())


class FakeServing:
    """Serves `base`, and whatever it is told to."""

    def __init__(self) -> None:
        self.models = {"base": ModelConfig("base", "e5", "base", license="MIT")}

    def config(self, name: str) -> ModelConfig:
        if name not in self.models:
            raise ModelNotFoundError("No such model.")
        return self.models[name]

    def configs(self) -> list[ModelConfig]:
        return list(self.models.values())

    def fetch(self, config: ModelConfig) -> Checkpoint:
        return Checkpoint(Path())

    def put(self, config: ModelConfig) -> None:
        self.models[config.name] = config

    def remove(self, name: str) -> None:
        del self.models[name]


def submit(training: Training, query: str = "a", **changes: Any) -> Job:
    """A job whose fake trainer does what `query` says."""
    pairs = read_pairs(f"{query}\tb\nc\td\nno pair\n", hard_negatives=False, max_pairs=9, max_chars=99)
    return training.submit(replace(REQUEST, **changes), lambda folder: write_pairs(pairs, folder))


def until(training: Training, job: Job, *statuses: JobStatus, timeout_s: float = 60) -> Job:
    """The job as soon as it has one of these statuses (default: has ended)."""
    deadline = time.monotonic() + timeout_s
    while (now := training.job(job.id)).status not in (statuses or ENDED):
        assert time.monotonic() < deadline, now
        time.sleep(0.02)
    return now
