"""ColQwen2's reader rewritten with SigLIP's tower."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recipes.pages import rotary_heads
from recipes.pages.neighbours import ALONG, neighbours
from recipes.pages.page import Page
from recipes.pages.qwen2_tower import Qwen2Tower
from recipes.pages.qwen2_tower import patches as qwen_patches
from recipes.pages.reader import Reader
from recipes.pages.siglip_rewriting import HEAD_WIDTH, centred, rewrite
from recipes.pages.siglip_tower import CONTENT, PATCH, PLACE, SiglipTower, patches
from recipes.pages.words import Words
from tests.unit.recipes.pages.support import attention_weights

DEPTH = 4
WORDS = Words(("winter", "coast"), (), np.array([0.5, 0.5]))


@pytest.fixture(scope="module")
def readers() -> tuple[Reader[Qwen2Tower], Reader[SiglipTower]]:
    torch.manual_seed(0)
    old = Reader(Qwen2Tower(DEPTH, 192, 128), 192, 128, WORDS, nn.RMSNorm(128))
    new = Reader(SiglipTower(DEPTH + 1, 12, HEAD_WIDTH, 768, 32), 192, 32, WORDS, nn.RMSNorm(32))
    random = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotary_heads, "N_FIT_STEPS", 200)
        rewrite(old, new, [noise(random) for _ in range(4)])
    return old, new


def noise(random: np.random.Generator) -> Page:
    return Page(Image.fromarray(random.integers(0, 256, (140, 168, 3), dtype=np.uint8)))


@torch.no_grad()
def test_patches_are_embedded_alike(readers: tuple[Reader[Qwen2Tower], Reader[SiglipTower]]) -> None:
    old, new = (reader.tower for reader in readers)
    pixels = 255 * torch.rand(1, 3, 2 * PATCH, 2 * PATCH)
    wanted = centred(old.visual.patch_embed(qwen_patches(pixels)).T).T
    found = new.patch_embedding(patches(pixels)) + new.vision.embeddings.patch_embedding.bias
    assert found[:, CONTENT] == pytest.approx(wanted.numpy(), abs=1e-4)
    assert found[:, PLACE].abs().max() == 0


@torch.no_grad()
def test_values_and_feed_forward_add_the_same(readers: tuple[Reader[Qwen2Tower], Reader[SiglipTower]]) -> None:
    old, new = (reader.tower for reader in readers)
    block, layer = old.visual.blocks[1], new.vision.encoder.layers[1]
    stream = torch.randn(5, 192)
    stream -= stream.mean(1, keepdim=True)
    beside = torch.cat((stream, torch.zeros(5, 12 * HEAD_WIDTH - 192)), dim=1)
    # Each patch takes over its own values.
    values = block.attn.qkv(block.norm1(stream))[:, 2 * 192 :]
    found = layer.self_attn.out_proj(layer.self_attn.v_proj(layer.layer_norm1(beside)))
    assert found[:, CONTENT] == pytest.approx(centred(block.attn.proj(values).T).T.numpy(), abs=1e-4)
    wanted = centred(block.mlp(block.norm2(stream)).T).T
    assert layer.mlp(layer.layer_norm2(beside))[:, CONTENT] == pytest.approx(wanted.numpy(), abs=1e-4)


@torch.no_grad()
def test_last_layer_merges_four_equal_patches(readers: tuple[Reader[Qwen2Tower], Reader[SiglipTower]]) -> None:
    old, new = readers
    layer, merger = new.tower.vision.encoder.layers[-1], old.tower.visual.merger
    stream = torch.randn(5, 192)
    stream -= stream.mean(1, keepdim=True)
    beside = torch.cat((stream, torch.zeros(5, 12 * HEAD_WIDTH - 192)), dim=1)
    wanted = merger(stream.repeat_interleave(4, dim=0))
    found = new.tower.projector(layer.mlp(layer.layer_norm2(beside)))
    # As the words are rewritten, in those directions that tell them apart; one GELU is not quite the other.
    directions = torch.linalg.svd(old.projection.weight * old.norm.weight)[2][:32]
    assert found == pytest.approx((wanted @ directions.T).numpy(), abs=0.05)
    assert new.background == pytest.approx((directions @ old.background).numpy(), abs=1e-5)
    assert layer.self_attn.out_proj.weight.abs().max() == 0


@pytest.mark.parametrize("layer", range(DEPTH + 1))
@torch.no_grad()
def test_heads_look_where_they_did(
    layer: int, readers: tuple[Reader[Qwen2Tower], Reader[SiglipTower]], monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 20
    page = torch.full((1, 3, side * PATCH, side * PATCH), 250.0)
    weights = attention_weights(readers[1].tower, page, monkeypatch)[layer]
    most = weights[:, 10 * side + 10].argmax(-1)
    found = [(int(index) // side - 10, int(index) % side - 10) for index in most]
    assert found == list(ALONG if layer == DEPTH else neighbours(layer, DEPTH))


def test_nothing_is_written_over_the_places(readers: tuple[Reader[Qwen2Tower], Reader[SiglipTower]]) -> None:
    tower = readers[1].tower
    tower(torch.rand(1, 3, 4 * PATCH, 4 * PATCH) * 255)[0].square().sum().backward()
    for layer in tower.vision.encoder.layers[:-1]:
        for writer in (layer.self_attn.out_proj, layer.mlp.fc2):
            assert writer.weight.grad.abs().max() > 0
            assert writer.weight.grad[PLACE].abs().max() == 0
    assert not tower.vision.embeddings.position_embedding.weight.requires_grad
