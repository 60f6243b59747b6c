"""Qwen2-VL's vision tower at its start, and rewritten as Qwen2.5-VL's."""

import pytest
import torch
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from recipes.pages.neighbours import HEAD_DIM, neighbours
from recipes.pages.qwen2_tower import Qwen2Tower
from recipes.pages.qwen_rewriting import qwen2_5_vision
from recipes.pages.whitening import N_DIRECTIONS, WhitenedPatches
from tests.unit.recipes.pages.support import attention_weights

SIZES = {"depth": 2, "num_heads": 4, "patch_size": 14}


@torch.no_grad()
def test_rewritten_tower_computes_the_same() -> None:
    torch.manual_seed(0)
    old = Qwen2VisionTransformerPretrainedModel(Qwen2VLVisionConfig(embed_dim=64, hidden_size=32, mlp_ratio=2, **SIZES))
    for parameter in old.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    new = Qwen2_5_VisionTransformerPretrainedModel(
        Qwen2_5_VLVisionConfig(
            hidden_size=64, out_hidden_size=32, intermediate_size=128, fullatt_block_indexes=[0, 1], **SIZES
        )
    )
    new.load_state_dict(qwen2_5_vision(old.state_dict(), depth=2))
    pixels, grid = torch.randn(6 * 20, 3 * 2 * 14 * 14), torch.tensor([[1, 6, 20]])
    wanted = old(pixels, grid_thw=grid).pooler_output
    assert new(pixels, grid_thw=grid).pooler_output == pytest.approx(wanted.numpy(), abs=1e-4)


@torch.no_grad()
def test_whitened_embedding_is_a_kernel_on_pixels() -> None:
    torch.manual_seed(0)
    patches = torch.randn(2000, 300) @ torch.randn(300, 300) + 5
    embedding = WhitenedPatches(300, 16)
    embedding.fit(patches)
    whitened = patches @ embedding.basis
    assert whitened.shape[1] == N_DIRECTIONS
    assert embedding(patches[:5]) == pytest.approx((patches[:5] @ embedding.kernel().T).numpy(), abs=1e-3)
    # Uncorrelated, and none larger than 1.
    moment = whitened.T @ whitened / len(whitened)
    assert (moment - torch.diag(moment.diagonal())).abs().max() < 0.01
    assert moment.diagonal().max() < 1.01


@pytest.mark.parametrize("layer", [0, 3])
@torch.no_grad()
def test_heads_of_qwen_begin_at_their_neighbours(layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = Qwen2Tower(4, 192, 64)
    rows, columns = 12, 16
    weights = attention_weights(tower, torch.full((1, 3, rows * 14, columns * 14), 250.0), monkeypatch)[layer]
    # The four patches of a token follow each other.
    places = [(r + i, c + j) for r in range(0, rows, 2) for c in range(0, columns, 2) for i in (0, 1) for j in (0, 1)]
    most = weights[:, places.index((5, 7))].argmax(-1)
    found = [(places[index][0] - 5, places[index][1] - 7) for index in most]
    assert found == list(neighbours(layer, 4))
    assert HEAD_DIM * len(found) == 192
