"""What is done for a GPU to Qwen's models changes no vectors. Computed here on a CPU, with nested tensors."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.core.types import ImageInput, TextInput
from app.families import qwen_vision, qwen_vl
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.catalog import CATALOG, load_class
from app.families.low_rank import LowRank, with_adapter
from app.families.qwen_vision import FusedRmsNorm, GatedMlp, VisionAttention, align_mlps
from app.families.qwen_vl import QwenVisualModel
from app.families.varlen_attention import jagged_attention
from app.families.visual_model import pad_left, padding_mask
from app.starter.visual import build_colqwen2, build_colqwen2_5
from tests.parity.visual_pictures import page

SIZES = [(300, 200), (60, 20), (130, 400)]


@pytest.fixture(scope="module", params=["colqwen2.5", "colqwen2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("models") / request.param
    built.mkdir()
    {"colqwen2.5": build_colqwen2_5, "colqwen2": build_colqwen2}[request.param](built)
    return built


def load(folder: Path) -> QwenVisualModel:
    model = load_class(CATALOG[folder.name]).load(Checkpoint(folder), LoadOptions())
    assert isinstance(model, QwenVisualModel)
    return model


def pages(model: QwenVisualModel) -> list[Prepared]:
    return [model.prepare_image(ImageInput(b""), page(*size)) for size in SIZES]


def rows(model: Any, batch: list[Prepared]) -> list[np.ndarray]:
    return [embedding.multi_vector.vectors for embedding in model.encode(batch)]


def test_vectors_stay_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, made = load(folder), load(folder)
    monkeypatch.setattr(qwen_vl, "choose_varlen_attention", lambda *_: jagged_attention())
    info = qwen_vl._made_for_gpu(made.module, made.info)
    assert info.attention == "sdpa+sdpa_jagged"
    kinds = {type(module) for module in made.module.modules()}
    assert {VisionAttention, FusedRmsNorm, GatedMlp} <= kinds
    assert not any(kind.__name__.endswith(("VLRMSNorm", "Qwen2RMSNorm")) for kind in kinds)
    for batch in (pages(plain), [plain.prepare_text(TextInput(text)) for text in ("a", "revenue of Germany")]):
        for ours, theirs in zip(rows(made, batch), rows(plain, batch), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_hidden_states_are_those_of_transformers(folder: Path) -> None:
    """Of pages and texts, alone, alike and unlike, in every bit."""
    model = load(folder)
    unlike = pages(model)
    texts = [model.prepare_text(TextInput(text)) for text in ("a", "revenue of Germany")]
    for batch in (unlike, unlike[:1], unlike[1:2] * 2, texts, texts[:1]):
        ids = pad_left([item.inputs["input_ids"] for item in batch])
        module: Any = model.module
        of_pages = (
            {
                "pixel_values": model.pixel_values(batch),
                "image_grid_thw": torch.tensor([model._grid_thw(item) for item in batch]),
                "position_ids": pad_left([qwen_vl._positions(item) for item in batch]).permute(2, 0, 1),
            }
            if "pixels" in batch[0].inputs
            else {}
        )
        with torch.inference_mode():
            found = model.last_hidden_states(batch, ids)
            mask = padding_mask(batch, "cpu").long()
            expected = module(input_ids=ids, attention_mask=mask, use_cache=False, **of_pages).last_hidden_state
        assert torch.equal(found, expected)


def test_wider_layers_compute_the_same_with_and_without_an_adapter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folder.name != "colqwen2.5":
        pytest.skip("Qwen2-VL's are wide enough")
    monkeypatch.setattr(qwen_vision, "ALIGNMENT", 48)
    plain, wide = (load_class(CATALOG[folder.name]).load_unpacked(Checkpoint(folder), LoadOptions()) for _ in range(2))
    align_mlps(wide.module.visual)
    mlp = wide.module.visual.blocks[0].mlp
    assert mlp.gate_proj.weight.shape[0] == mlp.down_proj.weight.shape[1] == 144
    assert mlp.gate_proj.out_features == mlp.down_proj.in_features == 128
    for model in (plain, wide):
        before = rows(model, pages(model))
        adapter = {f"visual.blocks.0.mlp.{name}": low_rank(getattr(mlp, name)) for name in ("gate_proj", "down_proj")}
        model.module = with_adapter(model.module, adapter)
        assert not np.allclose(rows(model, pages(model))[0], before[0], atol=1e-2)
    for ours, theirs in zip(rows(wide, pages(wide)), rows(plain, pages(plain)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def low_rank(linear: torch.nn.Linear) -> LowRank:
    random = torch.Generator().manual_seed(linear.in_features)
    down, up = (torch.randn(shape, generator=random) for shape in ((4, linear.in_features), (linear.out_features, 4)))
    return LowRank(down, up)


def test_without_a_kernel_transformers_computes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(folder)
    monkeypatch.setattr(qwen_vl, "choose_varlen_attention", lambda *_: None)
    info = qwen_vl._made_for_gpu(model.module, replace(model.info, attention="sdpa"))
    assert info.attention == "sdpa"
    assert not any(isinstance(module, VisionAttention) for module in model.module.modules())


def test_the_longest_sequence_is_as_long_as_it_is_said_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels would leave out what lies beyond it."""
    model = load(folder)
    longest: list[tuple[int, int]] = []

    def record(attention: Any) -> None:
        forward = attention.forward

        def recorded(hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, max_seqlen: int, **others: Any) -> Any:
            longest.append((int(cu_seqlens.diff().max()), max_seqlen))
            return forward(hidden_states, cu_seqlens=cu_seqlens, max_seqlen=max_seqlen, **others)

        monkeypatch.setattr(attention, "forward", recorded)

    visual: Any = model.module.visual
    for block in visual.blocks:
        record(block.attn)
    model.encode([model.prepare_image(ImageInput(b""), Image.new("RGB", size)) for size in [(900, 900), (3000, 1000)]])
    assert len(longest) == visual.config.depth
    assert all(seen == said for seen, said in longest)


def test_masks_that_transformers_makes_others_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FlashAttention takes out the padding, and layers that look at the last tokens only have a mask of their own."""
    model = load(folder)
    batch = pages(model)
    mask = padding_mask(batch, "cpu")
    plain = model._attention_mask(batch)
    assert plain is not None
    assert plain.shape == (len(batch), 1, mask.shape[1], mask.shape[1])
    assert torch.equal(plain[:, 0, -1], mask)
    monkeypatch.setattr(model, "info", replace(model.info, attention="flash_attention_2"))
    assert torch.equal(model._attention_mask(batch), mask)  # type: ignore[arg-type]
    monkeypatch.undo()
    monkeypatch.setattr(model.module.language_model, "has_sliding_layers", True)
    assert torch.equal(model._attention_mask(batch), mask)  # type: ignore[arg-type]


def test_positions_are_those_of_transformers(folder: Path) -> None:
    model = load(folder)
    module: Any = model.module
    for item in pages(model):
        ids = item.inputs["input_ids"][None]
        expected, _ = module.get_rope_index(
            ids,
            mm_token_type_ids=(ids == model.info.image_token_id).int(),
            image_grid_thw=torch.tensor([model._grid_thw(item)]),
        )
        assert torch.equal(qwen_vl._positions(item).T, expected[:, 0])
