"""A trained ColQwen2 reader rewritten as a reader with SigLIP's tower: nearly the same function to begin from.

- Beside the features of Qwen2-VL's tower the new one has those of places (`siglip_tower.PLACE`) and those of the token
  that it writes. What adds to the old features adds nothing to their mean, and the new ones are small: LayerNorm over
  all of them is then LayerNorm over the old ones, up to a factor.
- Heads look where `rotary_heads` says; what they take over and where to remains.
- Qwen2-VL merges four patches to a token, as the last layer does here for each patch alone, taken four times.
- The language model becomes narrower (`narrowing`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from app.starter.visual import QWEN_IMAGES
from recipes.pages.narrowing import narrowing, rewrite_words
from recipes.pages.neighbours import ALONG, CONTENT_GAIN, HEAD_DIM
from recipes.pages.page import Page
from recipes.pages.qwen2_tower import MERGE, Qwen2Tower
from recipes.pages.reader import Reader
from recipes.pages.rotary_heads import Heads, factors, fitted_waves, heads_of, place_scores
from recipes.pages.siglip_samples import Samples
from recipes.pages.siglip_tower import CONTENT, FREQUENCIES, N_CONTENT, N_PLACE, PATCH, PLACE, SiglipTower

HEAD_WIDTH = 20
"""Of SigLIP's heads: four more than Qwen2-VL's have, for places and contents."""

LOOK = (16.0, 16.0, 4.0)
"""How much higher the last layer's heads score a neighbour at first, by frequency."""


@torch.no_grad()
def rewrite(old: Reader[Qwen2Tower], new: Reader[SiglipTower], pages: Sequence[Page]) -> None:
    """Set the new reader's weights; pages of one size show what is typical."""
    blocks, (*layers, last) = old.tower.visual.blocks, new.tower.vision.encoder.layers
    samples = Samples(old.tower, pages, new.tower.vision.config.hidden_size)
    rewrite_patch_embedding(old.tower, new.tower)
    heads = [heads_of(block.attn.qkv, samples.normed(index), samples.at) for index, block in enumerate(blocks)]
    waves = fitted_waves(torch.stack([each.offsets for each in heads]))
    for index, (block, layer) in enumerate(zip(blocks, layers, strict=True)):
        _look(layer.self_attn, heads[index], place_scores(waves[index]), samples, index)
        _take_over(block, layer)
        _rewrite_norms(block, layer)
        _feed_forward(block.mlp, layer.mlp)
    directions = narrowing(old, new.projection.in_features)
    token = slice(PLACE.stop, PLACE.stop + len(directions))
    _look_around(last, samples)
    _merge(old.tower.visual.merger, last, directions, token)
    rewrite_words(old, new, directions)
    new.tower.projector.weight.zero_()[:, token] = torch.eye(len(directions))
    new.tower.projector.bias.zero_()


@torch.no_grad()
def rewrite_patch_embedding(old: Qwen2Tower, new: SiglipTower) -> None:
    """Qwen2-VL's of pixels that are normalized otherwise."""
    embedding = old.visual.patch_embed
    mean = torch.tensor(QWEN_IMAGES["image_mean"]).repeat_interleave(PATCH**2)
    deviation = torch.tensor(QWEN_IMAGES["image_std"]).repeat_interleave(PATCH**2)
    # SigLIP's x is Qwen's (x + 1) / 2 - mean, divided by the deviation.
    weight = centred(embedding.embedding.weight)
    new.patch_embedding.basis.copy_(embedding.basis / (2 * deviation[:, None]))
    new.patch_embedding.embedding.weight.zero_()[CONTENT] = weight
    new.vision.embeddings.patch_embedding.bias[CONTENT] = weight @ (((0.5 - mean) / deviation) @ embedding.basis)


def _look(attention: Any, heads: Heads, by_place: Tensor, samples: Samples, index: int) -> None:
    """Set queries and keys."""
    seen = torch.cat((samples.normed(index).flatten(0, 1), samples.places(index)), dim=1)
    with_one = torch.cat((torch.ones(len(seen), 1), seen), dim=1)
    scores = torch.zeros(len(by_place), with_one.shape[1], seen.shape[1])
    scores[:, : 1 + N_CONTENT, :N_CONTENT] = heads.content
    scores[:, 1 + N_CONTENT :, N_CONTENT:] = samples.place_unit(index) * by_place
    # SigLIP divides the scores by the root of the head's width.
    queries, keys = factors(HEAD_WIDTH**0.5 * scores, with_one, seen, HEAD_WIDTH)
    attention.q_proj.weight.zero_()[:, : seen.shape[1]] = queries[..., 1:].flatten(0, 1)
    attention.q_proj.bias.copy_(queries[..., 0].flatten())
    attention.k_proj.weight.zero_()[:, : seen.shape[1]] = keys.flatten(0, 1)


def _take_over(block: Any, layer: Any) -> None:
    """Set values and outputs; what SigLIP's heads have room for beyond Qwen2-VL's begins without an effect."""
    of_values, of_outputs = layer.self_attn.v_proj, layer.self_attn.out_proj
    values = of_values.weight.view(-1, HEAD_WIDTH, of_values.in_features)
    values[:, :HEAD_DIM] = 0
    values[:, :HEAD_DIM, CONTENT] = block.attn.qkv.weight[2 * N_CONTENT :].view(-1, HEAD_DIM, N_CONTENT)
    of_values.bias.view(-1, HEAD_WIDTH)[:, :HEAD_DIM] = block.attn.qkv.bias[2 * N_CONTENT :].view(-1, HEAD_DIM)
    outputs = of_outputs.weight.zero_().view(of_outputs.out_features, -1, HEAD_WIDTH)
    outputs[CONTENT, :, :HEAD_DIM] = centred(block.attn.proj.weight).view(N_CONTENT, -1, HEAD_DIM)
    of_outputs.bias[CONTENT] = centred(block.attn.proj.bias)


def _feed_forward(old: Any, new: Any) -> None:
    """The same; what SigLIP's has room for beyond Qwen2-VL's begins without an effect."""
    n = old.fc1.out_features
    new.fc1.weight[:n] = 0
    new.fc1.weight[:n, CONTENT] = old.fc1.weight
    new.fc1.bias[:n] = old.fc1.bias
    new.fc2.weight.zero_()[CONTENT, :n] = centred(old.fc2.weight)
    new.fc2.bias[CONTENT] = centred(old.fc2.bias)


def _look_around(layer: Any, samples: Samples) -> None:
    """Heads that begin at their neighbours and add nothing yet."""
    attention = layer.self_attn
    layer.layer_norm1.weight[CONTENT] = _shorter(layer.layer_norm1)
    angles = -torch.tensor(ALONG, dtype=torch.float32)[:, :, None] * torch.tensor(FREQUENCIES)
    waves = torch.tensor(LOOK)[:, None] * torch.stack((angles.cos(), angles.sin()), dim=-1)
    scores = HEAD_WIDTH**0.5 * samples.place_unit(-1) * place_scores(waves)
    queries_and_keys = factors(scores, samples.places(-1), samples.places(-1), N_PLACE)
    for projection, rows in zip((attention.q_proj, attention.k_proj), queries_and_keys, strict=True):
        projection.weight.mul_(CONTENT_GAIN)[:, PLACE] = 0
        of_heads = projection.weight.view(-1, HEAD_WIDTH, attention.embed_dim)
        of_heads[:, :N_PLACE] = 0
        of_heads[:, :N_PLACE, PLACE] = rows
    attention.out_proj.weight.zero_()


def _merge(merger: Any, layer: Any, directions: Tensor, token: slice) -> None:
    """The merger of four equal patches; it writes those directions of its token that count."""
    first, _, last = merger.mlp
    _rewrite_norm(merger.ln_q, layer.layer_norm2)
    layer.mlp.fc1.weight.zero_()[:, CONTENT] = first.weight.view(-1, MERGE**2, N_CONTENT).sum(1)
    layer.mlp.fc1.bias.copy_(first.bias)
    layer.mlp.fc2.weight.zero_()[token] = directions @ last.weight
    layer.mlp.fc2.bias[token] = directions @ last.bias


def _rewrite_norms(block: Any, layer: Any) -> None:
    _rewrite_norm(block.norm1, layer.layer_norm1)
    _rewrite_norm(block.norm2, layer.layer_norm2)


def _rewrite_norm(old: Any, new: Any) -> None:
    """LayerNorm over the old features, by one over more of them."""
    new.weight[CONTENT] = _shorter(new) * old.weight
    new.bias[CONTENT] = old.bias


def _shorter(norm: Any) -> float:
    """What makes up for features that are 0 and counted nevertheless."""
    return float((N_CONTENT / len(norm.weight)) ** 0.5)


def centred(weight: Tensor) -> Tensor:
    """What it writes has the mean 0 over the features, its first axis."""
    return weight - weight.mean(dim=0, keepdim=True)
