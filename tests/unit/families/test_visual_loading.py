"""Which checkpoints the visual families load, and which they refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from app import starter
from app.core.errors import BadInputError, ModelLoadError
from app.core.types import ImageInput, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.visual_model import VisualModel
from tests.parity import visual_layouts as layouts
from tests.parity.visual_pictures import page

MAX_DIFFERENCE = 1e-5
"""Between one model's vectors from two layouts of its weights, in float32."""

Change = Callable[[dict[str, np.ndarray]], None]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    starter.ensure(folder)
    return folder


@pytest.fixture(params=layouts.FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def copy(family: str, models_dir: Path, tmp_path: Path) -> Path:
    """A starter checkpoint that the test may spoil."""
    return Path(shutil.copytree(models_dir / layouts.published(family, models_dir), tmp_path / "copy"))


def load(family: str, path: Path, base: Path | None = None) -> VisualModel:
    model: Any = load_class(CATALOG[family]).load(Checkpoint(path, base), LoadOptions())
    return model


def rows(model: VisualModel) -> np.ndarray:
    """Of a page and of a query."""
    image = model.prepare_image(ImageInput(b""), page(300, 200))
    text = model.prepare_text(TextInput("quarterly revenue"))
    outputs = [*model.encode([image]), *model.encode([text])]
    return np.concatenate([output.multi_vector.vectors for output in outputs if output.multi_vector])


def change_weights(folder: Path, change: Change, name: str = "model.safetensors") -> None:
    weights = load_file(folder / name)
    change(weights)
    save_file(weights, folder / name, metadata={"format": "pt"})


def change_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Of the image processor."""
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")


class TestLayouts:
    @pytest.mark.parametrize("layout", [layouts.saved_today, layouts.flat_config])
    def test_weights_are_the_same_under_old_and_new_names(
        self, family: str, layout: Callable[[str, Path], str], models_dir: Path
    ) -> None:
        if layout is layouts.flat_config and family == "colpali":
            pytest.skip("PaliGemma's configuration has always been nested")
        one = rows(load(family, models_dir / layouts.published(family, models_dir)))
        other = rows(load(family, models_dir / layout(family, models_dir)))
        np.testing.assert_allclose(one, other, atol=MAX_DIFFERENCE)

    def test_an_adapter_over_its_base_is_the_merged_model(self, family: str, models_dir: Path) -> None:
        base = models_dir / layouts.published(family, models_dir)
        adapted = load(family, models_dir / layouts.adapter(family, models_dir), base)
        merged = load(family, models_dir / layouts.merged(family, models_dir))
        np.testing.assert_allclose(rows(adapted), rows(merged), atol=MAX_DIFFERENCE)
        assert abs(rows(adapted) - rows(load(family, base))).max() > 0.01
        assert merged.memory_bytes < adapted.memory_bytes < 1.1 * merged.memory_bytes

    def test_an_adapter_without_a_tokenizer_takes_that_of_its_base(
        self, family: str, models_dir: Path, tmp_path: Path
    ) -> None:
        base = models_dir / layouts.published(family, models_dir)
        folder = models_dir / layouts.adapter(family, models_dir)
        bare = tmp_path / "bare"
        bare.mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(folder / name, bare)
        np.testing.assert_array_equal(rows(load(family, bare, base)), rows(load(family, folder, base)))

    def test_sharded_weights(self, family: str, copy: Path) -> None:
        expected = rows(load(family, copy))
        weights = load_file(copy / "model.safetensors")
        (copy / "model.safetensors").unlink()
        weight_map = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(weights)}
        for file in set(weight_map.values()):
            part = {name: weights[name] for name in weights if weight_map[name] == file}
            save_file(part, copy / file, metadata={"format": "pt"})
        index = {"metadata": {}, "weight_map": weight_map}
        (copy / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        np.testing.assert_array_equal(rows(load(family, copy)), expected)


class TestVisualTokens:
    """The checkpoint's image processor says how many pixels a page has; 768 tokens are the most in any case."""

    @pytest.mark.parametrize(
        ("settings", "least", "most"),
        [
            ({"max_pixels": 100 * 28 * 28}, 80, 100),
            ({"max_pixels": 2000 * 28 * 28}, 700, 768),
            # As the processors of some hub checkpoints have it: the old name beside the new one, and it counts.
            ({"max_pixels": 768 * 28 * 28, "size": {"shortest_edge": 3136, "longest_edge": 12845056}}, 700, 768),
            ({"max_pixels": None, "size": {"shortest_edge": 3136, "longest_edge": 200 * 28 * 28}}, 160, 200),
        ],
    )
    def test_limit(self, models_dir: Path, tmp_path: Path, settings: dict[str, Any], least: int, most: int) -> None:
        folder = Path(shutil.copytree(models_dir / layouts.published("colqwen2.5", models_dir), tmp_path / "copy"))
        change_settings(folder, settings)
        assert least <= load("colqwen2.5", folder).patch_grid(3000, 2000).n_patches <= most


class TestRefusals:
    """Random numbers in place of weights, and weights without a place, are errors."""

    def test_no_projection(self, family: str, copy: Path) -> None:
        change_weights(copy, lambda weights: weights.pop("custom_text_proj.weight"))
        with pytest.raises(ModelLoadError, match=r"1 missing \(first: custom_text_proj.weight\)"):
            load(family, copy)

    def test_another_shape(self, family: str, copy: Path) -> None:
        change_weights(copy, lambda weights: weights.update({"custom_text_proj.bias": np.zeros(64, np.float32)}))
        with pytest.raises(ModelLoadError, match="1 of another shape"):
            load(family, copy)

    def test_a_weight_that_the_model_does_not_have(self, family: str, copy: Path) -> None:
        change_weights(copy, lambda weights: weights.update({"second_head.weight": np.zeros(4, np.float32)}))
        with pytest.raises(ModelLoadError, match="1 unexpected"):
            load(family, copy)

    def test_pickled_weights(self, family: str, copy: Path) -> None:
        (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
        with pytest.raises(ModelLoadError):
            load(family, copy)

    @pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json"])
    def test_no_tokenizer_or_image_processor(self, family: str, copy: Path, file: str) -> None:
        (copy / file).unlink()
        with pytest.raises(ModelLoadError, match=file):
            load(family, copy)

    def test_a_tokenizer_of_another_family(self, models_dir: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(models_dir / layouts.published("colqwen2", models_dir), tmp_path / "copy"))
        shutil.copy(models_dir / layouts.published("colpali", models_dir) / "tokenizer.json", folder)
        with pytest.raises(ModelLoadError, match="does not know"):
            load("colqwen2", folder)

    def test_a_filter_other_than_bicubic(self, family: str, copy: Path) -> None:
        change_settings(copy, {"resample": 0})
        with pytest.raises(ModelLoadError, match="bicubic"):
            load(family, copy)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda weights: weights.pop("base_model.model.custom_text_proj.lora_B.weight"), "1 missing"),
            (lambda weights: weights.update({"base_model.model.nowhere.lora_A.weight": np.zeros((4, 4))}), "nowhere"),
        ],
        ids=["half of a pair", "a module that is not there"],
    )
    def test_an_adapter_that_does_not_fit(
        self, family: str, models_dir: Path, tmp_path: Path, change: Change, message: str
    ) -> None:
        base = models_dir / layouts.published(family, models_dir)
        folder = tmp_path / "adapter"
        shutil.copytree(models_dir / layouts.adapter(family, models_dir), folder)
        change_weights(folder, change, "adapter_model.safetensors")
        with pytest.raises(ModelLoadError, match=message):
            load(family, folder, base)

    def test_an_adapter_of_another_kind(self, family: str, models_dir: Path, tmp_path: Path) -> None:
        folder = tmp_path / "adapter"
        shutil.copytree(models_dir / layouts.adapter(family, models_dir), folder)
        file = folder / "adapter_config.json"
        config = {"peft_type": "IA3", "base_model_name_or_path": "base", "target_modules": ["q_proj"]}
        file.write_text(json.dumps(config), encoding="utf-8")
        with pytest.raises(ModelLoadError, match="LoRA"):
            load(family, folder, models_dir / layouts.published(family, models_dir))


def test_an_option_of_another_family_is_refused(family: str, models_dir: Path) -> None:
    model = load(family, models_dir / layouts.published(family, models_dir))
    with pytest.raises(BadInputError, match="`image_size` is for DINOv3"):
        model.prepare_image(ImageInput(b"", image_size=64), page(300, 200))
