"""Self-supervised losses: the student's view of a picture against the teacher's other view of it.

- Whole picture: the class tokens of two views must find each other among the batch (InfoNCE with a momentum teacher, as
  in MoCo v3: Chen et al., arXiv:2104.02057, but without heads, on the vectors that are served).
- Patches: each patch must predict to which of the prototypes the teacher assigns the same place in the other view, where
  patches of the student's input are masked (iBOT: Zhou et al., arXiv:2111.07832; assignments by Sinkhorn-Knopp as in
  SwAV and DINOv2: arXiv:2006.09882, arXiv:2304.07193; places matched by geometry as in PixPro: arXiv:2011.10043).

The teacher is the exponential moving average of the student (arXiv:2006.07733).
"""

import copy
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    whole: float = 1.0
    patches: float = 1.0
    temperature: float = 0.1
    patch_temperature: float = 0.1
    teacher_temperature: float = 0.05
    masked: float = 0.3
    """Share of the student's patches"""
    momentum: float = 0.99


class SelfDistillation(nn.Module):
    """Student, teacher and the patches' prototypes: all that a training saves."""

    def __init__(self, student: DINOv3ViTModel, n_prototypes: int, weights: Weights) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False).eval()
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, student.config.hidden_size))
        self.weights = weights

    def losses(self, first: Views, second: Views) -> dict[str, Tensor]:
        """`loss` and its parts for two views of the same pictures."""
        with torch.no_grad():
            targets = [features(self.teacher, view.pixels) for view in (first, second)]
        seen = [features(self.student, view.pixels, self._mask(view.pixels)) for view in (first, second)]
        pairs = ((seen[0], targets[1], first, second), (seen[1], targets[0], second, first))
        whole = torch.stack([self._whole(a.whole, b.whole) for a, b, _, _ in pairs]).mean()
        patches = torch.stack([self._patches(a, b, source, target) for a, b, source, target in pairs]).mean()
        loss = self.weights.whole * whole + self.weights.patches * patches
        return {"loss": loss, "whole": whole, "patches": patches}

    @torch.no_grad()
    def follow(self, momentum: float | None = None) -> None:
        """Move the teacher towards the student."""
        share = 1 - (self.weights.momentum if momentum is None else momentum)
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, share)

    def _mask(self, pixels: Tensor) -> Tensor:
        """[n, n_patches], true with the share that is masked; half of the views are whole."""
        size = self.student.config.patch_size
        n_patches = (pixels.shape[2] // size) * (pixels.shape[3] // size)
        share = self.weights.masked * 2 * (torch.rand(len(pixels), 1) < 0.5)
        return torch.rand(len(pixels), n_patches) < share

    def _whole(self, student: Tensor, teacher: Tensor) -> Tensor:
        scores = normalize(student, dim=-1) @ normalize(teacher, dim=-1).T / self.weights.temperature
        return cross_entropy(scores, torch.arange(len(scores)))

    def _patches(self, student: Features, teacher: Features, source: Views, target: Views) -> Tensor:
        rows, columns = student.patches.shape[2:]
        places = carried(patch_centers(rows, columns), source.placement, target.placement)
        inside = places.abs().amax(dim=-1) < 1
        found = grid_sample(teacher.patches, places[:, None], padding_mode="border", align_corners=False)
        wanted = found[:, :, 0].transpose(1, 2)[inside]
        given = student.patches.flatten(2).transpose(1, 2)[inside]
        prototypes = normalize(self.prototypes, dim=-1)
        with torch.no_grad():
            scores = normalize(wanted, dim=-1) @ prototypes.T
            assigned = sinkhorn(scores / self.weights.teacher_temperature)
        logits = normalize(given, dim=-1) @ prototypes.T / self.weights.patch_temperature
        return -(assigned * log_softmax(logits, dim=-1)).sum(dim=-1).mean()


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
