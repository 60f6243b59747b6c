"""Self-supervised losses over two views of the same pictures.

- Whole picture: the vectors of two views must find each other among the batch's (InfoNCE as in SimCLR: Chen et al.,
  arXiv:2002.05709, but on the served vectors, without a head). Once for class tokens, once for the means of the
  patches: the means learn faster, and the class token learns from better patches.
- Patches: each must predict to which prototypes the same place belongs in the other view (assignments by
  Sinkhorn-Knopp as in SwAV: Caron et al., arXiv:2006.09882; places matched by geometry as in PixPro: Xie et al.,
  arXiv:2011.10043). Some patches are masked, so that it takes their surroundings (as in iBOT: Zhou et al.,
  arXiv:2111.07832).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, log_softmax, normalize
from transformers import DINOv3ViTModel

from recipes.images.views import Views, carried, patch_centers


@dataclass(frozen=True, slots=True)
class Features:
    whole: Tensor
    """[n, dim], class tokens"""
    patches: Tensor
    """[n, dim, rows, columns]"""

    def half(self, index: int) -> "Features":
        """Those of the first or of the second view, where both were computed in one batch."""
        return Features(self.whole.chunk(2)[index], self.patches.chunk(2)[index])


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    means: float = 1.0
    patches: float = 0.5
    temperature: float = 0.1
    target_temperature: float = 0.05
    """Of the patches' targets: sharper than the predictions"""
    masked: float = 0.15
    """Share of the patches"""


class SelfSupervision(nn.Module):
    """The model and the patches' prototypes: all that is trained."""

    def __init__(self, model: DINOv3ViTModel, n_prototypes: int, weights: Weights) -> None:
        super().__init__()
        self.model = model
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, model.config.hidden_size))
        self.weights = weights

    def losses(self, first: Views, second: Views) -> dict[str, Tensor]:
        """`loss` and its parts for two views of the same pictures, of equal size."""
        both = torch.cat([first.pixels, second.pixels])
        found = features(self.model, both, self._mask(both))
        one, other = found.half(0), found.half(1)
        whole = self._matching(one.whole, other.whole)
        means = self._matching(one.patches.mean(dim=(2, 3)), other.patches.mean(dim=(2, 3)))
        patches = (self._dense(one, other, first, second) + self._dense(other, one, second, first)) / 2
        loss = whole + self.weights.means * means + self.weights.patches * patches
        return {"loss": loss, "whole": whole, "means": means, "patches": patches}

    def _mask(self, pixels: Tensor) -> Tensor:
        """[n, n_patches], true where a patch is replaced by the mask token."""
        size = self.model.config.patch_size
        return torch.rand(len(pixels), (pixels.shape[2] // size) * (pixels.shape[3] // size)) < self.weights.masked

    def _matching(self, one: Tensor, other: Tensor) -> Tensor:
        """InfoNCE both ways between rows [n, dim]."""
        scores = normalize(one, dim=-1) @ normalize(other, dim=-1).T / self.weights.temperature
        own = torch.arange(len(scores))
        return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2

    def _dense(self, given: Features, target: Features, source: Views, destination: Views) -> Tensor:
        """Cross-entropy of the prototypes that patches predict and those of their places in the other view."""
        places = carried(patch_centers(*given.patches.shape[2:]), source.placement, destination.placement)
        inside = places.abs().amax(dim=-1) < 1
        there = grid_sample(target.patches.detach(), places[:, None], padding_mode="border", align_corners=False)
        prototypes = normalize(self.prototypes, dim=-1)
        with torch.no_grad():
            scores = normalize(there[:, :, 0].transpose(1, 2)[inside], dim=-1) @ prototypes.T
            assigned = sinkhorn(scores / self.weights.target_temperature)
        logits = normalize(given.patches.flatten(2).transpose(1, 2)[inside], dim=-1) @ prototypes.T
        return -(assigned * log_softmax(logits / self.weights.temperature, dim=-1)).sum(dim=-1).mean()


def features(model: DINOv3ViTModel, pixels: Tensor, mask: Tensor | None = None) -> Features:
    """After the final normalization, as they are served. `mask` [n, n_patches]."""
    size = model.config.patch_size
    tokens = model(pixel_values=pixels, bool_masked_pos=mask).last_hidden_state
    patches = tokens[:, 1 + model.config.num_register_tokens :].transpose(1, 2)
    shape = (len(pixels), -1, pixels.shape[2] // size, pixels.shape[3] // size)
    return Features(tokens[:, 0], patches.reshape(shape))


def sinkhorn(scores: Tensor, n_rounds: int = 3) -> Tensor:
    """Assignments [n, n_prototypes] whose rows sum to 1 and whose columns sum to about the same."""
    assigned = torch.exp(scores - scores.max())
    for _ in range(n_rounds):
        assigned = assigned / assigned.sum(dim=0, keepdim=True)
        assigned = assigned / assigned.sum(dim=1, keepdim=True)
    return assigned
