"""A model that is closed leaves memory at once. No garbage collection looks for it (`app.core.imports`)."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from app import starter
from app.engine.loader import warm_up
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    starter.ensure(folder)
    return folder / starter.UNTRAINED


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("family", CATALOG)
def test_nothing_of_a_model_refers_to_itself(
    family: str, backend: str, untrained: Path, without_collection: None
) -> None:
    model = load_class(CATALOG[family]).load(Checkpoint(untrained / family), LoadOptions(backend=backend))
    warm_up(model)
    module: torch.nn.Module = model.module  # type: ignore[attr-defined]
    parts = [weakref.ref(part) for part in (model, *module.modules(), *module.parameters())]
    model.close()
    del model, module
    assert not [part() for part in parts if part() is not None]
