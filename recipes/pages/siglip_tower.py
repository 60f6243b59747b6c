"""ColPali's vision tower as it is trained: SigLIP on whole pages, or on pieces of them at any place of the page."""

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipVisionModel

from recipes.pages.attention import MATERIALIZED
from recipes.pages.reader import Tower
from recipes.pages.whitening import WhitenedPatches

PATCH = 14
PATCHES_A_SIDE = 56

FREQUENCIES = (1.0, 0.3, 0.1)
"""Radians a patch, of the waves that tell where a patch is."""

WAVE = 1.0
"""Their height: small beside what a patch shows, which a LayerNorm then hardly notices."""

N_CONTENT = 192
N_PLACE = 4 * len(FREQUENCIES) + 1
"""Features that tell where a patch is: sine and cosine of its row and of its column; the last one is constant."""

CONTENT = slice(0, N_CONTENT)
PLACE = slice(N_CONTENT, N_CONTENT + N_PLACE)


class SiglipTower(Tower):
    """SigLIP and the projection to the language model's width."""

    token_side = PATCH
    patch_side = PATCH

    def __init__(self, depth: int, n_heads: int, head_dim: int, intermediate: int, hidden: int) -> None:
        super().__init__()
        dim = n_heads * head_dim
        config = SiglipVisionConfig(
            hidden_size=dim,
            intermediate_size=intermediate,
            num_hidden_layers=depth,
            num_attention_heads=n_heads,
            image_size=PATCH * PATCHES_A_SIDE,
            patch_size=PATCH,
            hidden_act="quick_gelu",
            vision_use_head=False,
        )
        config._attn_implementation = MATERIALIZED
        self.vision = SiglipVisionModel(config)
        self.patch_embedding = WhitenedPatches(3 * PATCH**2, dim)
        self.projector = nn.Linear(dim, hidden)
        with torch.no_grad():
            self.vision.embeddings.patch_embedding.bias.zero_()
            self.vision.embeddings.position_embedding.weight.zero_()[:, PLACE] = WAVE * page_places()
        self._keep_places()

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
        tokens = self.projector(self.vision.post_layernorm(hidden))
        return tokens.flatten(0, 1), middle[..., CONTENT].flatten(0, 1)

    def _keep_places(self) -> None:
        """Nothing is written beside the waves: they are small, so what reads them multiplies them by hundreds."""
        embeddings = self.vision.embeddings
        embeddings.position_embedding.weight.requires_grad_(False)
        writers: list[nn.Module] = [embeddings.patch_embedding, self.patch_embedding.embedding]
        for layer in self.vision.encoder.layers:
            writers += [layer.layer_norm1, layer.self_attn.out_proj, layer.mlp.fc2]
        for writer in writers:
            for parameter in writer.parameters():
                parameter.register_hook(_without_places)  # type: ignore[no-untyped-call]

    def published(self) -> dict[str, Tensor]:
        """Weights of SigLIP by name, with its own patch embedding."""
        kernel = self.patch_embedding.kernel().detach().view(-1, 3, PATCH, PATCH)
        return {**self.vision.state_dict(), "embeddings.patch_embedding.weight": kernel}

    def _positions(self, n: int, rows: int, columns: int) -> Tensor:
        """[n, rows * columns, dim]: each piece lies somewhere on the page, or the page is whole."""
        table = self.vision.embeddings.position_embedding.weight.view(PATCHES_A_SIDE, PATCHES_A_SIDE, -1)
        room = torch.tensor([PATCHES_A_SIDE - rows + 1, PATCHES_A_SIDE - columns + 1])
        starts = (torch.rand(n, 2) * room).long().tolist()
        return torch.stack([table[top : top + rows, left : left + columns].flatten(0, 1) for top, left in starts])


def _without_places(gradient: Tensor) -> Tensor:
    """Of what writes features, its first axis."""
    gradient = gradient.clone()
    gradient[PLACE] = 0
    return gradient


def patches(pixels: Tensor) -> Tensor:
    """[n, 3, height, width] from 0 to 255 -> normalized rows [n * n_patches, 3 * PATCH**2]."""
    # SigLIP's normalization: mean and deviation are a half.
    return unfold(pixels / 127.5 - 1, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)


def places(at: Tensor) -> Tensor:
    """Rows and columns [n, 2] -> sines and cosines of the row, then of the column, and a one [n, N_PLACE]."""
    angles = at[:, :, None] * torch.tensor(FREQUENCIES)
    waves = torch.cat((angles.sin(), angles.cos()), dim=2).flatten(1)
    return torch.cat((waves, torch.ones(len(at), 1)), dim=1)


def page_places() -> Tensor:
    """`places` of a page's patches [PATCHES_A_SIDE**2, N_PLACE], in row-major order."""
    side = torch.arange(PATCHES_A_SIDE)
    return places(torch.cartesian_prod(side, side))
