"""Principal components of patches, each brought to about the same strength: what a first layer learns from fastest.

As in Coates et al. 2011, "An analysis of single-layer networks in unsupervised feature learning".
"""

import torch
from torch import Tensor


def whitened_directions(moment: Tensor, n: int, softening: float) -> Tensor:
    """The `n` strongest directions [n_pixels, n] of a matrix of second moments [n_pixels, n_pixels], weakest first.

    Each is divided by its deviation; `softening` is the share of the mean variance that is added to each before, so
    that what is weaker than that stays weak.
    """
    variances, directions = torch.linalg.eigh(moment)
    strongest: Tensor = directions[:, -n:] * (variances[-n:] + softening * variances.mean()).rsqrt()
    return strongest
