"""ColPali's vision tower as it is trained: SigLIP on whole pages, or on pieces of them at any place of the page."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel

from recipes.pages.attention import MATERIALIZED
from recipes.pages.neighbours import CONTENT_GAIN, HEAD_DIM, neighbours
from recipes.pages.reader import Tower
from recipes.pages.whitening import WhitenedPatches

PATCH = 21
PATCHES_A_SIDE = 32
RESIDUAL_GAIN = 0.3
"""Of the matrices that add to the residual stream, at the start."""

FREQUENCIES = (1.0, 0.3, 0.1)
"""Radians a patch, of the waves that tell where a patch is."""

WAVE = 1.5
"""Their height; features have a deviation of about 1."""

LOOK = (4.0, 4.0, 2.0)
"""How much stronger queries and keys take them, at the start: neighbours stand out, by each of the frequencies."""

N_WAVES = 4 * len(FREQUENCIES)
"""Features, the first ones, that tell where a patch is: sine and cosine of its row and of its column."""


class SiglipTower(Tower):
    """SigLIP and the projection to the language model's width."""

    token_side = PATCH
    patch_side = PATCH

    def __init__(self, depth: int, dim: int, hidden: int) -> None:
        super().__init__()
        config = SiglipVisionConfig(
            hidden_size=dim,
            intermediate_size=3 * dim,
            num_hidden_layers=depth,
            num_attention_heads=dim // HEAD_DIM,
            image_size=PATCH * PATCHES_A_SIDE,
            patch_size=PATCH,
            vision_use_head=False,
        )
        config._attn_implementation = MATERIALIZED
        self.vision = SiglipVisionModel(config)
        self.patch_embedding = WhitenedPatches(3 * PATCH**2, dim)
        self.projector = nn.Linear(dim, hidden)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.vision.embeddings.position_embedding.weight.zero_()[:, :N_WAVES] = WAVE * waves()
            self.vision.embeddings.patch_embedding.bias.zero_()
            self.patch_embedding.embedding.weight[:N_WAVES] = 0
            for index, layer in enumerate(self.vision.encoder.layers):
                for writer in (layer.self_attn.out_proj, layer.mlp.fc2):
                    writer.weight.mul_(RESIDUAL_GAIN)[:N_WAVES] = 0
                look_at(layer.self_attn.q_proj, layer.self_attn.k_proj, neighbours(index, depth))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        n, _, height, width = pixels.shape
        rows, columns = height // PATCH, width // PATCH
        hidden = self.patch_embedding(patches(pixels)).view(n, rows * columns, -1)
        hidden = hidden + self.vision.embeddings.patch_embedding.bias + self._positions(n, rows, columns)
        middle = hidden
        layers = self.vision.encoder.layers
        for index, layer in enumerate(layers):
            hidden = layer(hidden, attention_mask=None)
            if index == len(layers) // 2:
                middle = hidden
        return self.projector(self.vision.post_layernorm(hidden)).flatten(0, 1), middle.flatten(0, 1)

    def published(self) -> dict[str, Tensor]:
        """Weights of SigLIP by name, with its own patch embedding."""
        kernel = self.patch_embedding.kernel().detach().view(-1, 3, PATCH, PATCH)
        return {**self.vision.state_dict(), "embeddings.patch_embedding.weight": kernel}

    def _positions(self, n: int, rows: int, columns: int) -> Tensor:
        """[n, rows * columns, dim]: each piece lies somewhere on the page, or the page is whole."""
        table = self.vision.embeddings.position_embedding.weight.view(PATCHES_A_SIDE, PATCHES_A_SIDE, -1)
        places = torch.rand(n, 2) * torch.tensor([PATCHES_A_SIDE - rows + 1, PATCHES_A_SIDE - columns + 1])
        starts = places.long().tolist()
        return torch.stack([table[top : top + rows, left : left + columns].flatten(0, 1) for top, left in starts])


def patches(pixels: Tensor) -> Tensor:
    """[n, 3, height, width] from 0 to 255 -> normalized rows [n * n_patches, 3 * PATCH**2]."""
    # SigLIP's normalization: mean and deviation are a half.
    return unfold(pixels / 127.5 - 1, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)


def waves() -> Tensor:
    """Where each patch is [PATCHES_A_SIDE**2, N_WAVES]: sines and cosines of its row, then those of its column."""
    angles = torch.arange(PATCHES_A_SIDE)[:, None] * torch.tensor(FREQUENCIES)
    one = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows = one[:, None].expand(-1, PATCHES_A_SIDE, -1)
    columns = one[None].expand(PATCHES_A_SIDE, -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)


def look_at(queries: nn.Linear, keys: nn.Linear, offsets: Sequence[tuple[int, int]]) -> None:
    """Let each head look at a neighbour at first: the key's waves are shifted by the way to it."""
    queries.weight.mul_(CONTENT_GAIN)
    keys.weight.mul_(CONTENT_GAIN)
    of_queries, of_keys = (matrix.weight.view(len(offsets), HEAD_DIM, -1) for matrix in (queries, keys))
    of_queries[:, :N_WAVES] = 0
    of_keys[:, :N_WAVES] = 0
    n = len(FREQUENCIES)
    for head, offset in enumerate(offsets):
        for axis, steps in enumerate(offset):
            for index, (frequency, strength) in enumerate(zip(FREQUENCIES, LOOK, strict=True)):
                sine = 2 * n * axis + index
                cosine = sine + n
                shift = steps * frequency
                of_queries[head, sine, sine] = of_queries[head, cosine, cosine] = strength
                # sin(x - shift) and cos(x - shift) of the key's own place x.
                of_keys[head, sine, sine] = of_keys[head, cosine, cosine] = strength * math.cos(shift)
                of_keys[head, sine, cosine] = -strength * math.sin(shift)
                of_keys[head, cosine, sine] = strength * math.sin(shift)
