"""Self-supervised losses over two views of the same pictures: what belongs together must find each other.

All are InfoNCE on the served vectors, without a head (SimCLR: Chen et al., arXiv:2002.05709):

- Pictures, by their class tokens.
- Pictures, by the means of their patches. The means learn faster, and the class token learns from better patches.
- Patches: each is to find the same place of the picture in the other view, among places of all pictures (as in DenseCL:
  Wang et al., arXiv:2011.09157; places are matched by geometry as in PixPro: Xie et al., arXiv:2011.10043).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, grid_sample, normalize
from transformers import DINOv3ViTModel

from recipes.images.views import Views, carried, patch_centers

TEMPERATURE = 0.1
N_PLACES = 512
"""Pairs of patches a step; more cost time and gain little."""


@dataclass(frozen=True, slots=True)
class Features:
    whole: Tensor
    """[n, dim], class tokens"""
    patches: Tensor
    """[n, dim, rows, columns]"""


def losses(model: DINOv3ViTModel, first: Views, second: Views) -> dict[str, Tensor]:
    """`loss` and its parts for two views of the same pictures, of equal size."""
    found = features(model, torch.cat([first.pixels, second.pixels]))
    wholes, patches = found.whole.chunk(2), found.patches.chunk(2)
    parts = {
        "whole": matching(*wholes),
        "means": matching(*(view.mean(dim=(2, 3)) for view in patches)),
        "patches": matching(*same_places(patches[0], patches[1], first.placement, second.placement)),
    }
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def matching(one: Tensor, other: Tensor) -> Tensor:
    """InfoNCE both ways: each row of `one` [n, dim] is to be nearest to the same row of `other`, and the reverse."""
    scores = normalize(one, dim=-1) @ normalize(other, dim=-1).T / TEMPERATURE
    own = torch.arange(len(scores))
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


def same_places(first: Tensor, second: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors [at most N_PLACES, dim] of patches of the first view, and of their places in the second.

    `first` and `second` [n, dim, rows, columns] are patches of views placed by `source` and `target`; between patch
    centers the second view's vectors are interpolated.
    """
    places = carried(patch_centers(*first.shape[2:]), source, target)
    there = grid_sample(second, places[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    inside = (places.abs().amax(dim=-1) < 1).flatten().nonzero()[:, 0]
    chosen = inside[torch.randperm(len(inside))[:N_PLACES]]
    return first.flatten(2).transpose(1, 2).flatten(0, 1)[chosen], there.transpose(1, 2).flatten(0, 1)[chosen]


def features(model: DINOv3ViTModel, pixels: Tensor) -> Features:
    """After the final normalization, as they are served."""
    size = model.config.patch_size
    tokens = model(pixel_values=pixels).last_hidden_state
    patches = tokens[:, 1 + model.config.num_register_tokens :].transpose(1, 2)
    shape = (len(pixels), -1, pixels.shape[2] // size, pixels.shape[3] // size)
    return Features(tokens[:, 0], patches.reshape(shape))
