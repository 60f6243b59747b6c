"""What the layers of a trained Qwen2-VL tower see on sample pages, and what SigLIP's LayerNorm would make of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recipes.pages.page import Page
from recipes.pages.qwen2_tower import MERGE, Qwen2Tower
from recipes.pages.reader import pixels
from recipes.pages.siglip_tower import FREQUENCIES, PATCH, PATCHES_A_SIDE, WAVE, places

TEXT_QUANTILE = 0.8
"""Of the lengths of patches' features: that of a patch with text."""


class Samples:
    """By layer; that of index -1 is the merger."""

    def __init__(self, tower: Qwen2Tower, pages: Sequence[Page], dim: int) -> None:
        rows, columns = pages[0].image.height // PATCH, pages[0].image.width // PATCH
        self.at = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        """Rows and columns of the patches [n_patches, 2]."""
        self._norms = [*(block.norm1 for block in tower.visual.blocks), tower.visual.merger.ln_q]
        self._merged = (len(pages), rows // MERGE, columns // MERGE, MERGE, MERGE, -1)
        self._streams: list[Tensor] = []
        self._dim = dim
        hooks = [norm.register_forward_pre_hook(lambda _, its: self._streams.append(its[0])) for norm in self._norms]
        with torch.no_grad():
            tower(pixels(pages))
        for hook in hooks:
            hook.remove()

    @torch.no_grad()
    def normed(self, index: int) -> Tensor:
        """After the layer's first norm [n_pages, n_patches, width], in row-major order."""
        found: Tensor = self._norms[index](self._stream(index))
        return found

    def places(self, index: int) -> Tensor:
        """Features of places anywhere on the page, as SigLIP's norm leaves them [n_pages * n_patches, N_PLACE]."""
        lengths = self._lengths(index)
        at = PATCHES_A_SIDE * torch.rand(len(lengths), 2, generator=torch.Generator().manual_seed(0))
        return WAVE * places(at) / lengths[:, None]

    def place_unit(self, index: int) -> float:
        """By how much scores by places have to be larger, because the norm makes the features smaller."""
        return float((self._lengths(index).quantile(TEXT_QUANTILE) / WAVE).square())

    def _stream(self, index: int) -> Tensor:
        """Before the norm; Qwen2-VL has the four patches of a token after each other."""
        return self._streams[index].view(self._merged).transpose(2, 3).flatten(1, 4)

    def _lengths(self, index: int) -> Tensor:
        """What SigLIP's norm divides features by [n_pages * n_patches]."""
        content = self._stream(index).flatten(0, 1)
        squares = (content - content.mean(1, keepdim=True)).square().sum(1)
        # A sine and a cosine together always have the length of WAVE.
        n_waves = 2 * len(FREQUENCIES)
        return ((squares + WAVE**2 * (n_waves + 1)) / self._dim).sqrt()
