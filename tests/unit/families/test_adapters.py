"""LoRA adapters over a base that is in memory once."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app import starter
from app.core.errors import ModelLoadError
from app.families.adapter_files import base_key, is_plain, shared_part
from app.families.base import Checkpoint, EmbeddingModel, LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.shared_bases import SharedBases
from tests.parity import visual_layouts as layouts
from tests.unit.families.adapters import (
    AdapterFolders,
    change_settings,
    second_adapter,
    text_adapter,
    vectors,
    visual_adapter,
)
from tests.unit.families.backends import skip_without

MAX_DIFFERENCE = 1e-5
"""Between an adapter over its base and the merged model, in float32."""

CASES = [
    ("e5", "onnxruntime", "every layer"),
    ("e5", "openvino", "some"),
    ("e5", "torch", "some"),
    ("bge-m3", "onnxruntime", "some"),
    ("bge-m3", "torch", "every layer"),
    *((family, "auto", "") for family in layouts.FAMILIES),
]


@dataclass(frozen=True, slots=True)
class Case:
    """A family on a backend, and its folders."""

    family: str
    options: LoadOptions
    folders: AdapterFolders

    def load(self, checkpoint: Checkpoint, bases: SharedBases | None = None) -> EmbeddingModel:
        options = self.options if bases is None else replace(self.options, bases=bases)
        return load_class(CATALOG[self.family]).load(checkpoint, options)

    def in_memory(self, bases: SharedBases) -> bool:
        return base_key(self.family, Checkpoint(self.folders.base), self.options) in bases


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def case(request: Any, checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Case:
    family, backend, layers = request.param
    if backend != "auto":
        skip_without(backend)
    folder = tmp_path_factory.mktemp("adapter")
    if family in layouts.FAMILIES:
        starter.ensure(folder)
        folders = visual_adapter(family, folder)
    else:
        folders = text_adapter(checkpoints[family], folder, layers)
    return Case(family, LoadOptions(backend=backend), folders)


@pytest.fixture
def folders(checkpoints: dict[str, Path], tmp_path: Path) -> AdapterFolders:
    """An adapter over E5 that the test may change, and its base."""
    base = Path(shutil.copytree(checkpoints["e5"], tmp_path / "base"))
    return text_adapter(base, tmp_path, "every layer")


@pytest.mark.parametrize("base_first", [True, False])
def test_an_adapter_beside_its_base_equals_the_merged_model(case: Case, base_first: bool) -> None:
    bases = SharedBases()
    order = [Checkpoint(case.folders.base), case.folders.checkpoint]
    models = {ckpt: case.load(ckpt, bases) for ckpt in (order if base_first else order[::-1])}
    base, adapted = (vectors(models[checkpoint]) for checkpoint in order)
    np.testing.assert_array_equal(base, vectors(case.load(order[0])))
    np.testing.assert_allclose(adapted, vectors(case.load(Checkpoint(case.folders.merged))), atol=MAX_DIFFERENCE)
    assert abs(adapted - base).max() > 0.01


def test_the_base_is_in_memory_and_is_counted_once(case: Case, tmp_path: Path) -> None:
    bases = SharedBases()
    base = case.load(Checkpoint(case.folders.base), bases)
    alone = base.memory_bytes
    others = [case.folders.adapter, second_adapter(case.folders.adapter, tmp_path / "second")]
    models = [base, *(case.load(Checkpoint(folder, case.folders.base), bases) for folder in others)]
    assert len({tensor for model in models for tensor in weights_of(model)}) == len(weights_of(base))
    for folder, model in zip(others, models[1:], strict=True):
        added = (folder / "adapter_model.safetensors").stat().st_size
        # ONNX Runtime's narrow products are filled up to 16 columns, four times the rank here. Heads are not shared.
        assert model.memory_bytes < 4 * added + alone // 20
    assert abs(vectors(models[1]) - vectors(models[2])).max() > 0.01


def test_the_base_stays_as_long_as_anyone_uses_it(case: Case) -> None:
    bases = SharedBases()
    base = case.load(Checkpoint(case.folders.base), bases)
    adapted = case.load(case.folders.checkpoint, bases)
    before, counted = vectors(adapted), base.memory_bytes + adapted.memory_bytes
    base.close()
    np.testing.assert_array_equal(vectors(adapted), before)
    assert counted * 0.9 < adapted.memory_bytes <= counted
    base = case.load(Checkpoint(case.folders.base), bases)
    assert base.memory_bytes < counted / 20
    adapted.close()
    assert vectors(base).size
    assert case.in_memory(bases)
    base.close()
    # At once, not when garbage is collected.
    assert not case.in_memory(bases)


def test_all_answer_at_the_same_time(case: Case) -> None:
    bases = SharedBases()
    models = [case.load(checkpoint, bases) for checkpoint in (Checkpoint(case.folders.base), case.folders.checkpoint)]
    expected = [vectors(model) for model in models]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(vectors, models * 6))
    for number, rows in enumerate(found):
        np.testing.assert_allclose(rows, expected[number % 2], atol=MAX_DIFFERENCE)


def test_a_failed_load_leaves_nothing_in_memory(case: Case, tmp_path: Path) -> None:
    adapter = second_adapter(case.folders.adapter, tmp_path / "other")
    weights = load_file(adapter / "adapter_model.safetensors")
    renamed = {name.replace(".lora_", ".nowhere.lora_"): weight for name, weight in weights.items()}
    save_file(renamed, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    bases = SharedBases()
    with pytest.raises(ModelLoadError, match="do not fit its base"):
        case.load(Checkpoint(adapter, case.folders.base), bases)
    assert not case.in_memory(bases)


@pytest.mark.parametrize(
    "settings",
    [{"alpha_pattern": {"query": 1}}, {"modules_to_save": ["dense"]}, {"use_dora": True}, {"bias": "all"}],
    ids=str,
)
def test_an_adapter_that_does_more_is_merged(folders: AdapterFolders, settings: dict[str, Any]) -> None:
    assert is_plain(folders.adapter)
    change_settings(folders.adapter, settings)
    assert shared_part(folders.checkpoint, LoadOptions()) == folders.checkpoint


@pytest.mark.parametrize(
    "change",
    [
        lambda names: {**names, "base_model.model.new.weight": np.ones((2, 2), np.float32)},
        lambda names: dict(list(names.items())[1:]),
        lambda names: {name: weight[..., None] for name, weight in names.items()},
    ],
    ids=["another weight", "half a product", "convolutions"],
)
def test_an_adapter_with_other_weights_is_merged(folders: AdapterFolders, change: Callable[[Any], Any]) -> None:
    file = folders.adapter / "adapter_model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    assert not is_plain(folders.adapter)


def test_a_merged_adapter_equals_one_beside_its_base(folders: AdapterFolders) -> None:
    case = Case("e5", LoadOptions(), folders)
    beside = vectors(case.load(folders.checkpoint))
    change_settings(folders.adapter, {"alpha_pattern": {"no such layer": 1}})
    assert not is_plain(folders.adapter)
    np.testing.assert_allclose(vectors(case.load(folders.checkpoint)), beside, atol=MAX_DIFFERENCE)


def test_in_int8_an_adapter_is_merged(folders: AdapterFolders) -> None:
    bases, options = SharedBases(), LoadOptions(dtype="int8")
    case = Case("e5", options, folders)
    base, adapted = (case.load(checkpoint, bases) for checkpoint in (Checkpoint(folders.base), folders.checkpoint))
    assert adapted.memory_bytes == base.memory_bytes
    cosines = (vectors(adapted) * vectors(case.load(Checkpoint(folders.merged)))).sum(axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("settings", [{}, {"alpha_pattern": {"no such layer": 1}}], ids=["beside", "merged"])
def test_in_bfloat16_an_adapter_stays_near(folders: AdapterFolders, settings: dict[str, Any]) -> None:
    exact = vectors(Case("e5", LoadOptions(), folders).load(Checkpoint(folders.merged)))
    change_settings(folders.adapter, settings)
    model = Case("e5", LoadOptions(dtype="bfloat16"), folders).load(folders.checkpoint)
    assert (vectors(model) * exact).sum(axis=1).min() > 0.999
    # ONNX Runtime has none.
    assert model.info.dtype == ("float32" if model.info.backend == "onnxruntime" else "bfloat16")


@pytest.mark.parametrize("options", [LoadOptions(dtype="bfloat16"), LoadOptions(backend="torch")])
def test_only_equal_settings_share(folders: AdapterFolders, options: LoadOptions) -> None:
    bases = SharedBases()
    base = Case("e5", LoadOptions(), folders).load(Checkpoint(folders.base), bases)
    other = Case("e5", options, folders).load(folders.checkpoint, bases)
    alone = other.memory_bytes
    base.close()
    assert other.memory_bytes == alone


def test_a_base_that_was_written_anew_is_another_one(folders: AdapterFolders) -> None:
    file = folders.base / "model.safetensors"
    key = base_key("e5", Checkpoint(folders.base), LoadOptions())
    assert base_key("e5", Checkpoint(folders.base), LoadOptions()) == key
    os.utime(file, ns=(0, 0))
    assert base_key("e5", Checkpoint(folders.base), LoadOptions()) != key


def weights_of(model: Any) -> list[int]:
    """Identities of what holds the base's weights for its adapters: ONNX Runtime's session, or tensors."""
    runner = getattr(model, "_runner", None)
    if hasattr(runner, "_for_adapters"):
        runner = runner._for_adapters
        assert runner is not None
    if hasattr(runner, "_session"):
        return [id(runner._session)]
    module = runner._encoder if runner else model.module
    return [id(weight) for name, weight in module.named_parameters() if not name.endswith((".down", ".up"))]
