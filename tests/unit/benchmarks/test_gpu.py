"""The benchmark of a GPU counts what is computed, and builds what it says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig

from app.core.types import ImageInput
from app.families import visual_model
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.colqwen2_5 import ColQwen2_5, ColQwen2_5Model
from app.starter.text import build_e5
from app.starter.visual import build_colqwen2_5
from benchmarks.gpu import main
from benchmarks.gpu_pages import TEXT_3B, VISION_3B, form, language_flops, page_flops, parts, vision_flops
from benchmarks.gpu_setting import batches
from benchmarks.gpu_texts import full_texts
from benchmarks.texts import MAX_TOKENS


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ColQwen2_5Model:
    monkeypatch.setattr(visual_model, "pack_linears", lambda module: None)
    build_colqwen2_5(tmp_path)
    return ColQwen2_5Model.load(Checkpoint(tmp_path), LoadOptions())


def test_operations_of_a_page_are_those_of_its_layers(model: ColQwen2_5Model) -> None:
    """All but attention, which is computed here: 4 * queries * keys * width, a half of it where it is causal."""
    counted = 0

    def count(layer: nn.Linear, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        counted += 2 * output.numel() * layer.in_features

    for layer in model.module.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(count)
    item = model.prepare_image(ImageInput(b""), Image.new("RGB", (448, 224)))
    model.encode([item])
    vision, text = model.module.config.vision_config, model.module.config.text_config
    n, width = len(item.inputs["pixels"]), vision.hidden_size
    whole, windowed = 4 * width * n * n, 4 * width * n * 64
    causal = text.num_hidden_layers * 4 * item.n_tokens**2 * text.hidden_size // 2
    assert n == 32 * 16
    assert page_flops(model, item) == counted + whole + windowed + causal


def test_the_large_model_has_the_published_sizes(model: ColQwen2_5Model) -> None:
    config: Any = Qwen2_5_VLConfig(text_config={**TEXT_3B, "vocab_size": 151_936}, vision_config=dict(VISION_3B))
    with torch.device("meta"):
        module = ColQwen2_5(config)
    # Qwen2.5-VL-3B has 3.75 billion weights; its embeddings are those of its head.
    assert sum(weight.numel() for weight in module.parameters()) == pytest.approx(3.755e9, rel=1e-3)
    flops = vision_flops(config.vision_config, 4 * 768) + language_flops(config.text_config, 782, model)
    assert flops == pytest.approx(8.6e12, rel=0.03)


def test_batches_keep_to_their_tokens_and_order() -> None:
    items = [Prepared({}, n_tokens=n) for n in (5, 5, 1, 20, 3)]
    assert [[item.n_tokens for item in batch] for batch in batches(items, 10)] == [[5, 5], [1], [20], [3]]


def test_full_texts_fill_the_models_context(tmp_path: Path) -> None:
    build_e5(tmp_path)
    texts = full_texts(8, tmp_path)
    assert all(MAX_TOKENS - 2 <= text.n_tokens <= MAX_TOKENS for text in texts)
    assert len({text.bare for text in texts}) == 8


def test_requests_hold_all_pages() -> None:
    requests = parts([b"a", b"b", b"c"], 8)
    assert requests == [[b"a", b"b", b"c", b"a"], [b"b", b"c", b"a", b"b"]]
    assert form(requests[0]).count(b'name="files"') == 4


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no NVIDIA GPU"):
        main()
