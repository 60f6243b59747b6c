"""Encoders that are read without transformers' model classes are the ones that these read."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.core.errors import ModelLoadError
from app.families.base import Checkpoint, LoadOptions
from app.families.encoder_weights import read_encoder
from app.families.pretrained_encoder import load_pretrained_encoder
from app.settings import REPO
from app.starter.text import EncoderShape, build_e5

Weights = dict[str, torch.Tensor]
UNLIKE = {"_name_or_path": "", "dtype": ""}


@pytest.fixture(params=["bert", "xlm-roberta"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    build_e5(tmp_path, EncoderShape(dim=32, n_layers=2, n_heads=2, model_type=request.param))
    return tmp_path


def model_type(folder: Path) -> str:
    found: str = json.loads((folder / "config.json").read_text())["model_type"]
    return found


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def prefixed(weights: Weights) -> Weights:
    """As a model with a head for masked words is saved."""
    head = {"lm_head.bias": torch.zeros(3), "cls.predictions.bias": torch.zeros(3)}
    return head | {f"roberta.{name}": weight for name, weight in weights.items()}


def old_names(weights: Weights) -> Weights:
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): weight
        for name, weight in weights.items()
    }


def halved(weights: Weights) -> Weights:
    return {name: weight.half() for name, weight in weights.items()}


def assert_as_transformers_reads_it(folder: Path) -> None:
    found = read_encoder(folder, model_type(folder))
    wanted = load_pretrained_encoder(Checkpoint(folder), model_type(folder), LoadOptions())
    assert found.config.to_diff_dict() | UNLIKE == wanted.config.to_diff_dict() | UNLIKE
    expected: Any = {name: weight for name, weight in wanted.state_dict().items() if "pooler" not in name}
    assert found.state_dict().keys() == expected.keys()
    for name, weight in found.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize("change", [dict, halved])
def test_the_same_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    rewrite(folder, change)
    assert_as_transformers_reads_it(folder)


@pytest.mark.parametrize("change", [prefixed, old_names])
def test_other_names(folder: Path, change: Callable[[Weights], Weights]) -> None:
    wanted = read_encoder(folder, model_type(folder)).state_dict()
    rewrite(folder, change)
    for name, weight in read_encoder(folder, model_type(folder)).state_dict().items():
        assert torch.equal(weight, wanted[name])


def test_several_files(folder: Path) -> None:
    wanted = read_encoder(folder, model_type(folder)).state_dict()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    place = {name: f"model-{1 + number % 2}.safetensors" for number, name in enumerate(weights)}
    for file in set(place.values()):
        save_file({name: weight for name, weight in weights.items() if place[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
    for name, weight in read_encoder(folder, model_type(folder)).state_dict().items():
        assert torch.equal(weight, wanted[name])


def without_a_layer(weights: Weights) -> Weights:
    return {name: weight for name, weight in weights.items() if "layer.1.output" not in name}


def with_another(weights: Weights) -> Weights:
    return weights | {"encoder.layer.0.adapter.weight": torch.zeros(2, 2)}


def with_another_shape(weights: Weights) -> Weights:
    return weights | {"embeddings.word_embeddings.weight": torch.zeros(7, 32)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_a_layer, "4 missing"),
        (with_another, "1 unexpected"),
        (with_another_shape, "1 of another shape"),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, change: Callable[[Weights], Weights], problem: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ModelLoadError, match=problem):
        read_encoder(folder, model_type(folder))


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_broken_or_missing_weights(folder: Path, content: bytes | None) -> None:
    (folder / "model.safetensors").unlink()
    if content is not None:
        (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadError, match="missing, broken or of another kind"):
        read_encoder(folder, model_type(folder))


def test_a_text_is_embedded_without_transformers_models() -> None:
    """They take a second and a half of the first answer."""
    code = """
import sys
from app.engine.loader import warm_up
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class
from pathlib import Path
from transformers import AutoTokenizer
AutoTokenizer.from_pretrained("models/starter/e5-starter")
# Those of older releases import more by themselves.
of_tokenizers = {"scipy", "torch._dynamo"} & sys.modules.keys()
for family in ("e5", "bge-m3"):
    warm_up(load_class(CATALOG[family]).load(Checkpoint(Path("models/starter") / f"{family}-starter"), LoadOptions()))
slow = {"transformers.modeling_utils", "torch._dynamo", "peft", "sentence_transformers", "scipy"} - of_tokenizers
assert not slow & sys.modules.keys(), slow & sys.modules.keys()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
