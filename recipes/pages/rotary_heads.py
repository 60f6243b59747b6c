"""Qwen2-VL's attention heads in a form that SigLIP can have.

Rotary positions turn a query and a key by angles that grow with their places, so that a head's score is, with a complex
number for each two numbers of the query z and of the key w, the real part of the sum of z * conj(w) * exp(i angle *
offset). SigLIP adds its positions to the contents, which makes a score bilinear in both. Of the four products of means
and deviations,

- mean by mean depends on the offset alone. Its course is fitted by three waves a direction, whose sines and cosines are
  features of the patches (`siglip_tower.places`);
- those with the key's deviation are taken at the offsets at which the head looks, on average;
- mean key by the query's deviation is left out: it matters little, for where it does not depend on the offset it is the
  same for each key.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recipes.pages.neighbours import HEAD_DIM
from recipes.pages.qwen2_tower import ROPE_BASE
from recipes.pages.siglip_tower import FREQUENCIES, N_PLACE, PATCHES_A_SIDE

N_FREQUENCIES = HEAD_DIM // 4
"""Of Qwen2-VL's rotary positions, in each direction."""

OFFSETS = torch.arange(-(PATCHES_A_SIDE - 1), PATCHES_A_SIDE)
"""Of a query from a key, in patches, down or across."""

SOFTER = (1.0, 4.0, 16.0)
"""Temperatures at which the attention to offsets is compared: contents count far from its peak too."""

N_FIT_STEPS = 2500


@dataclass(frozen=True, slots=True)
class Heads:
    """All heads of a layer, without what is the same for all keys."""

    content: Tensor
    """Scores by the features of query and key [n_heads, 1 + width, width]; of the query's, a one comes first."""
    offsets: Tensor
    """Scores by offset, down and across [n_heads, 2, n_offsets]."""


@torch.no_grad()
def heads_of(qkv: nn.Linear, inputs: Tensor, at: Tensor) -> Heads:
    """Of a layer whose normed inputs on sample pages are [n_pages, n_patches, width], at places [n_patches, 2]."""
    n_heads = qkv.in_features // HEAD_DIM
    weights = _complex(qkv.weight[: 2 * qkv.in_features].view(2, n_heads, HEAD_DIM, -1))
    biases = _complex(qkv.bias[: 2 * qkv.in_features].view(2, n_heads, HEAD_DIM, 1))[..., 0]
    mean = inputs.flatten(0, 1).mean(0)
    means = weights @ mean.to(weights.dtype) + biases
    turns = _turns(at)
    found = torch.einsum("bnw,thfw->tbhnf", inputs.to(weights.dtype), weights) + biases[:, None, :, None]
    queries, keys = found * turns
    attention = (queries @ keys.mH).real.mul(HEAD_DIM**-0.5).softmax(-1)
    # [n_heads, frequencies]: what the angle between a patch and the one it looks at is on average.
    looking = (turns * (attention.to(turns.dtype) @ turns.conj())).mean((0, 2))
    by_query = torch.cat((biases[0, :, :, None], weights[0]), dim=2)
    content = torch.einsum("hfq,hf,hfk->hqk", by_query, looking, weights[1].conj()).real
    products = (means[0] * means[1].conj()).view(n_heads, 2, N_FREQUENCIES)
    courses = torch.einsum("haf,of->hao", products, _turns(OFFSETS[:, None])).real
    return Heads(content * HEAD_DIM**-0.5, courses * HEAD_DIM**-0.5)


def _complex(rows: Tensor) -> Tensor:
    """[..., HEAD_DIM, n] -> [..., HEAD_DIM / 2, n]: Qwen turns each number with the one half a head later."""
    first, second = rows.float().chunk(2, dim=-2)
    return torch.complex(first, second)


def _turns(at: Tensor) -> Tensor:
    """Places [n, axes] -> numbers of length 1 [n, axes * N_FREQUENCIES]."""
    frequencies = ROPE_BASE ** (-torch.arange(N_FREQUENCIES) / N_FREQUENCIES)
    angles = (at[:, :, None] * frequencies).flatten(1)
    return torch.polar(torch.ones_like(angles), angles)


@torch.enable_grad()
def fitted_waves(offsets: Tensor) -> Tensor:
    """Scores by offset [..., n_offsets] -> cosines and sines that attend alike [..., n_frequencies, 2]."""
    waves = _waves().flatten(1)
    found = torch.zeros(*offsets.shape[:-1], waves.shape[1], requires_grad=True)
    adam = torch.optim.Adam([found])
    for step in range(N_FIT_STEPS):
        adam.param_groups[0]["lr"] = 1 - step / N_FIT_STEPS
        fits = found @ waves.T
        loss = 1e-5 * found.square().sum()
        for softer in SOFTER:
            wanted, fit = (offsets / softer).log_softmax(-1), (fits / softer).log_softmax(-1)
            loss = loss + softer**0.5 * (wanted.exp() * (wanted - fit)).sum()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return found.detach().view(*offsets.shape[:-1], -1, 2)


def place_scores(waves: Tensor) -> Tensor:
    """Cosines and sines [n_heads, 2, n_frequencies, 2] -> scores by the places' features [n_heads, N_PLACE, N_PLACE].

    The constant features take the peak away, so that a score is at most 0: patches have features of different lengths,
    and LayerNorm makes differences of what all scores have in common.
    """
    n = len(FREQUENCIES)
    scores = torch.zeros(len(waves), N_PLACE, N_PLACE)
    for axis in range(2):
        sines = 2 * n * axis + torch.arange(n)
        cosines = sines + n
        scores[:, sines, sines] = scores[:, cosines, cosines] = waves[:, axis, :, 0]
        scores[:, sines, cosines] = waves[:, axis, :, 1]
        scores[:, cosines, sines] = -waves[:, axis, :, 1]
    scores[:, -1, -1] = -torch.einsum("hafp,ofp->hao", waves, _waves()).amax(-1).sum(-1)
    return scores


def _waves() -> Tensor:
    """Cosines and sines by offset [n_offsets, n_frequencies, 2]."""
    angles = OFFSETS[:, None] * torch.tensor(FREQUENCIES)
    return torch.stack((angles.cos(), angles.sin()), dim=-1)


def factors(scores: Tensor, queries: Tensor, keys: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Matrices [n_heads, rank, n] and [n_heads, rank, m] whose product comes closest to scores [n_heads, n, m].

    Closest on such features of queries [n_samples, n] and of keys [n_samples, m].
    """
    left, left_back = _roots(queries)
    right, right_back = _roots(keys - keys.mean(0))
    u, sizes, v = torch.linalg.svd(left @ scores.double() @ right, full_matrices=False)
    roots = sizes[:, :rank, None].sqrt()
    of_queries = roots * u.mT[:, :rank] @ left_back
    of_keys = roots * v[:, :rank] @ right_back
    return of_queries.float(), of_keys.float()


def _roots(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of the second moments, and its inverse, in double precision."""
    sizes, directions = torch.linalg.eigh((samples.T @ samples / len(samples)).double())
    roots = sizes.clamp_min(1e-7 * sizes.max()).sqrt()
    return directions * roots @ directions.T, directions / roots @ directions.T
