"""Qwen2-VL's vision tower as it is trained: transformers' module on whole batches of pages of one size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from app.starter.visual import PATCH, QWEN_IMAGES
from recipes.pages.attention import MATERIALIZED
from recipes.pages.neighbours import CONTENT_GAIN, HEAD_DIM, neighbours
from recipes.pages.reader import Tower
from recipes.pages.whitening import WhitenedPatches

MERGE = 2
TOKEN_SIDE = MERGE * PATCH
"""Pixels of a page across one visual token."""

LOOK = (6.0, 9.0)
"""Constant queries and keys in the two fastest frequencies of an axis: other patches get a tenth at the start."""

ROPE_BASE = 10_000.0

RESIDUAL_GAIN = 0.3
"""Of the matrices that add to the residual stream, at the start."""


class Qwen2Tower(Tower):
    """Qwen2-VL's."""

    token_side = TOKEN_SIDE
    patch_side = PATCH

    def __init__(self, depth: int, dim: int, hidden: int, mlp_ratio: int = 3) -> None:
        super().__init__()
        config = Qwen2VLVisionConfig(
            depth=depth,
            embed_dim=dim,
            hidden_size=hidden,
            mlp_ratio=mlp_ratio,
            num_heads=dim // HEAD_DIM,
            patch_size=PATCH,
        )
        config._attn_implementation = MATERIALIZED
        self.visual = Qwen2VisionTransformerPretrainedModel(config)
        for module in self.visual.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # A still image is two equal frames to Qwen's convolution; one matrix does with half of the numbers.
        self.visual.patch_embed = WhitenedPatches(3 * PATCH**2, dim)
        with torch.no_grad():
            for index, block in enumerate(self.visual.blocks):
                block.attn.proj.weight.mul_(RESIDUAL_GAIN)
                block.mlp.fc2.weight.mul_(RESIDUAL_GAIN)
                look_at(block.attn.qkv, neighbours(index, depth))

        self._middle: list[Tensor] = []
        self.visual.blocks[depth // 2].register_forward_hook(lambda *call: self._middle.append(call[2]))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        n, _, height, width = pixels.shape
        rows, columns = height // TOKEN_SIDE, width // TOKEN_SIDE
        grid = torch.tensor([[1, rows * MERGE, columns * MERGE]] * n)
        self._middle.clear()
        tokens: Tensor = self.visual(patches(pixels), grid_thw=grid).pooler_output
        (middle,) = self._middle
        in_rows = middle.view(n, rows, columns, MERGE, MERGE, -1).transpose(2, 3).flatten(0, 4)
        return tokens, in_rows


@torch.no_grad()
def look_at(qkv: nn.Linear, offsets: Sequence[tuple[int, int]]) -> None:
    """Let each head look at a neighbour at first.

    Rotary positions turn a constant query and a constant key to an inner product that depends on their distance alone
    and is largest where the key's phase makes up for it.
    """
    queries_and_keys = 2 * qkv.in_features
    qkv.weight[:queries_and_keys].mul_(CONTENT_GAIN)
    queries, keys, _ = qkv.bias.view(3, len(offsets), -1)
    frequencies = HEAD_DIM // 4
    for head, offset in enumerate(offsets):
        for axis, steps in enumerate(offset):
            for index, strength in enumerate(LOOK):
                first = axis * frequencies + index
                second = first + HEAD_DIM // 2
                phase = steps * ROPE_BASE ** (-index / frequencies)
                queries[head, first] = strength
                keys[head, first] = strength * math.cos(phase)
                keys[head, second] = -strength * math.sin(phase)


def patches(pixels: Tensor) -> Tensor:
    """[n, 3, height, width] from 0 to 255 -> normalized rows [n * n_patches, 3 * PATCH**2] in Qwen's order.

    The four patches of a visual token follow each other.
    """
    n, _, height, width = pixels.shape
    mean = torch.tensor(QWEN_IMAGES["image_mean"]).view(3, 1, 1) * 255
    deviation = torch.tensor(QWEN_IMAGES["image_std"]).view(3, 1, 1) * 255
    split = ((pixels - mean) / deviation).view(
        n, 3, height // TOKEN_SIDE, MERGE, PATCH, width // TOKEN_SIDE, MERGE, PATCH
    )
    return split.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, 3 * PATCH**2)
