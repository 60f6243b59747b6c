"""The trained checkpoints that come with the repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from app.engine.config import ModelConfig, read_models_file
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import load_class
from app.settings import REPO

FOLDER = REPO / "models/starter"
MODELS = [model for model in read_models_file(REPO / "starter.toml") if model.trained]
MAX_BYTES, MAX_BYTES_TOGETHER = 14_000_000, 70_000_000

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def folder_of(model: ModelConfig) -> Path:
    return REPO / "models" / model.checkpoint


def n_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_every_folder_is_served_under_its_name() -> None:
    folders = {folder.name for folder in FOLDER.glob("*") if folder.is_dir()}
    assert folders == {model.name for model in MODELS}
    assert [model.checkpoint for model in MODELS] == [f"starter/{model.name}" for model in MODELS]


@every_model
def test_it_is_small(model: ModelConfig) -> None:
    assert n_bytes(folder_of(model)) <= MAX_BYTES


def test_they_are_small_together() -> None:
    assert n_bytes(FOLDER) <= MAX_BYTES_TOGETHER


@every_model
def test_its_weights_are_in_half_precision(model: ModelConfig) -> None:
    assert set(dtypes(folder_of(model))) == {"F16"}


def dtypes(folder: Path) -> Iterator[str]:
    """Of every tensor of floats."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found = [tensors.get_slice(name).get_dtype() for name in tensors.keys()]  # noqa: SIM118 - no mapping
        yield from (dtype for dtype in found if not dtype.startswith(("I", "U", "BOOL")))


@every_model
def test_its_card_tells_the_licence_the_recipe_and_its_limits(model: ModelConfig) -> None:
    _, front, text = (folder_of(model) / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "mit" == model.license.lower()
    assert f"make starter-{model.family}" in text
    assert "## What it is not" in text


@every_model
def test_it_loads(model: ModelConfig) -> None:
    loaded = load_class(model.spec).load(Checkpoint(folder_of(model)), LoadOptions())
    assert loaded.info.dim > 0
