"""ColPali's vision tower as it is trained: SigLIP on whole pages, or on pieces of them at any place of the page."""

import torch
from torch import Tensor, nn
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel

from app.starter.visual import COLPALI_IMAGES
from recipes.pages.reader import Tower

PATCH = 21
PATCHES_A_SIDE = 32
RESIDUAL_GAIN = 0.3
LONGEST_WAVE = 64.0


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
            num_attention_heads=dim // 32,
            image_size=PATCH * PATCHES_A_SIDE,
            patch_size=PATCH,
            vision_use_head=False,
        )
        config._attn_implementation = "sdpa"
        self.vision = SiglipVisionModel(config)
        self.projector = nn.Linear(dim, hidden)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.vision.embeddings.position_embedding.weight.copy_(waves(dim))
            for layer in self.vision.encoder.layers:
                layer.self_attn.out_proj.weight.mul_(RESIDUAL_GAIN)
                layer.mlp.fc2.weight.mul_(RESIDUAL_GAIN)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        normalized = (pixels / 255 - COLPALI_IMAGES["image_mean"][0]) / COLPALI_IMAGES["image_std"][0]
        grid: Tensor = self.vision.embeddings.patch_embedding(normalized)
        rows, columns = grid.shape[2:]
        hidden = grid.flatten(2).transpose(1, 2) + self._positions(len(grid), rows, columns)
        middle = hidden
        layers = self.vision.encoder.layers
        for index, layer in enumerate(layers):
            hidden = layer(hidden, attention_mask=None)
            if index == len(layers) // 2:
                middle = hidden
        return self.projector(self.vision.post_layernorm(hidden)).flatten(0, 1), middle.flatten(0, 1)

    def _positions(self, n: int, rows: int, columns: int) -> Tensor:
        """[n, rows * columns, dim]: each piece lies somewhere on the page, or the page is whole."""
        table = self.vision.embeddings.position_embedding.weight.view(PATCHES_A_SIDE, PATCHES_A_SIDE, -1)
        places = torch.rand(n, 2) * torch.tensor([PATCHES_A_SIDE - rows + 1, PATCHES_A_SIDE - columns + 1])
        starts = places.long().tolist()
        return torch.stack([table[top : top + rows, left : left + columns].flatten(0, 1) for top, left in starts])


def waves(dim: int) -> Tensor:
    """Sines and cosines of row and column [PATCHES_A_SIDE**2, dim], from which a neighbour is easy to find."""
    quarter = dim // 4
    steps = torch.arange(PATCHES_A_SIDE).float()
    angles = steps[:, None] * 2 * torch.pi / LONGEST_WAVE ** (torch.arange(1, quarter + 1) / quarter)
    one = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows = one[:, None].expand(-1, PATCHES_A_SIDE, -1)
    columns = one[None].expand(PATCHES_A_SIDE, -1, -1)
    return torch.cat((rows, columns), dim=-1).flatten(0, 1)
