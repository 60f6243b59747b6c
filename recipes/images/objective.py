"""Losses over two views of the same pictures: what belongs together must find each other.

The first three are InfoNCE on the served vectors, without a head (SimCLR: Chen et al., arXiv:2002.05709):

- Pictures, by their class tokens.
- Pictures, by the means of their patches. The means learn faster, and the class token learns from better patches.
- Patches: each is to find the same place of the picture in the other view, among places of all pictures (as in DenseCL:
  Wang et al., arXiv:2011.09157; places are matched by geometry as in PixPro: Xie et al., arXiv:2011.10043).
- Patches of collages: a linear head says how much of each is a pasted piece.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, grid_sample, normalize
from transformers import DINOv3ViTModel

from recipes.images.views import Views, carried, patch_centers
from recipes.precision import fast_bfloat16

TEMPERATURE = 0.1
N_PLACES = 512
"""Pairs of patches a step; more cost time and gain little."""
PASTED_WEIGHT = 3.0
"""Of nats a patch, of which a coin has 0.7; the others begin at four to six."""


class Learner(nn.Module):
    """A model, and the head that is thrown away after its training."""

    def __init__(self, model: DINOv3ViTModel) -> None:
        super().__init__()
        self.model = model
        self.pasted = nn.Linear(model.config.hidden_size, 1)


@dataclass(frozen=True, slots=True)
class Features:
    whole: Tensor
    """[n, dim], class tokens"""
    patches: Tensor
    """[n, dim, rows, columns]"""


def step(learner: Learner, first: Views, second: Views) -> dict[str, Tensor]:
    """`losses`, whose gradients are computed already: both views at once, each by one thread of its own.

    For matrices this small that is about twice as fast as both threads on each operation.
    """

    def forward(views: Views) -> Features:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
            return features(learner.model, views.pixels)

    def backward(found: Features, cut: Features) -> None:
        # Both threads add to the same gradients, which autograd guards.
        torch.autograd.backward([found.whole, found.patches], [cut.whole.grad, cut.patches.grad])

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(forward, (first, second)))
        cut = [Features(each.whole.detach().requires_grad_(), each.patches.detach().requires_grad_()) for each in found]
        parts = losses(learner, (cut[0], first), (cut[1], second))
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        list(threads.map(backward, found, cut))
    return {name: value.detach() for name, value in parts.items()} | {"loss": parts["loss"].detach().requires_grad_()}


def losses(learner: Learner, *both: tuple[Features, Views]) -> dict[str, Tensor]:
    """`loss` and its parts for two views of the same pictures, and what was found in them."""
    (one, first), (other, second) = both
    parts = {
        "whole": matching(one.whole, other.whole),
        "means": matching(one.patches.mean(dim=(2, 3)), other.patches.mean(dim=(2, 3))),
        "patches": matching(*same_places(one.patches, other.patches, first.placement, second.placement)),
    }
    loss = torch.stack(list(parts.values())).sum()
    if len(first.pasted):
        parts["pasted"] = torch.stack([found_pieces(learner.pasted, found, views) for found, views in both]).mean()
        loss = loss + PASTED_WEIGHT * parts["pasted"]
    return {"loss": loss, **parts}


def found_pieces(head: nn.Linear, found: Features, views: Views) -> Tensor:
    """Cross entropy of the share of each patch that is a pasted piece."""
    n = len(views.pasted)
    patches = found.patches[-n:].flatten(2).transpose(1, 2)
    size = views.pixels.shape[3] // found.patches.shape[3]
    shares = avg_pool2d(views.pasted[:, None], size).flatten(1)
    return binary_cross_entropy_with_logits(head(patches)[..., 0], shares)


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
    """After the final normalization, as they are served; float32."""
    size = model.config.patch_size
    tokens = model(pixel_values=pixels).last_hidden_state.float()
    patches = tokens[:, 1 + model.config.num_register_tokens :].transpose(1, 2)
    shape = (len(pixels), -1, pixels.shape[2] // size, pixels.shape[3] // size)
    return Features(tokens[:, 0], patches.reshape(shape))
