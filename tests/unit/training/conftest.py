"""Training with a fake trainer and a fake server around it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.training.service import Training
from tests.fake_trainer import COMMAND
from tests.training_fakes import FakeServing

Open = Callable[..., Training]


@pytest.fixture
def serving() -> FakeServing:
    return FakeServing()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def open_training(models_dir: Path, serving: FakeServing) -> Iterator[Open]:
    opened: list[Training] = []

    def open_(**options: Any) -> Training:
        opened.append(Training.open(models_dir, serving, "cpu", COMMAND, **options))
        return opened[-1]

    yield open_
    for training in opened:
        training.close()


@pytest.fixture
def training(open_training: Open) -> Training:
    return open_training()
