"""A real server in this process, and the measure of how close vectors are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import REPO, Settings

MIN_COSINE = 0.9999
"""Of every row with the reference's, in float32."""


@contextmanager
def serve(models_dir: Path, device: str, models_file: Path = REPO / "tests/untrained.toml") -> Iterator[TestClient]:
    """A client of a server in this process with the models of `models_dir`, in float32."""
    settings = Settings.model_construct(
        models_file=models_file, models_dir=models_dir, device=device, dtype="float32", hf_hub_offline=True
    )
    with TestClient(create_app(settings)) as client:
        yield client


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of `a` [..., dim] with the same row of `b`: [...]."""
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
