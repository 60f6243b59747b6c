"""A start for the patch embedding: the principal components of patches, each brought to about the same strength.

With random filters nearly all that a patch's embedding says is its brightness, because that is what patches differ by
most; edges and colors come through from the first step after whitening.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from recipes.whitening import whitened_directions

SOFTENING = 0.01
"""Share of the mean variance that is added to each: components weaker than that stay weak."""


@torch.no_grad()
def whiten(embedding: nn.Conv2d, pixels: Tensor) -> None:
    """Set the filters (as many as components are kept) from the patches of `pixels` [n, 3, height, width]."""
    size = embedding.kernel_size[0]
    patches = unfold(pixels, size, stride=size).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(dim=0)
    centered = patches - mean
    directions = whitened_directions(centered.T @ centered / len(centered), embedding.out_channels, SOFTENING)
    # A random turn: otherwise the first channels would hold all that is coarse.
    turn, _ = torch.linalg.qr(torch.randn(embedding.out_channels, embedding.out_channels))
    filters = turn @ directions.T
    embedding.weight.copy_(filters.view_as(embedding.weight))
    if embedding.bias is not None:
        embedding.bias.copy_(-filters @ mean)
