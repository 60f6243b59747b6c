"""Elementwise operations that a GPU does in one pass over memory: compiled by torch where there is a compiler.

One by one they take as long as the matrix products between them (docs/decisions/0008-gpu.md).
"""

import logging
import shutil
from collections.abc import Callable, Hashable
from functools import cache, cached_property
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from app.families.cuda_streams import DEVICE_WIDE

log = logging.getLogger(__name__)

FEWEST_ROWS = 4096
"""Of fewer rows a pass takes less time than its launch, and compiled code takes longer to launch."""
COMPILERS = ("cc", "gcc", "clang")
"""Triton needs one of them for its launchers."""


class Fused:
    """A function of tensors; the first one's rows decide whether compiled code computes it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._may_compile = True
        self._kinds: set[Hashable] = set()
        """Of tensors that there is code for."""

    def __call__(self, *tensors: Tensor, **constants: float) -> Tensor:
        if not self._suits(tensors[0]):
            return self._function(*tensors, **constants)
        try:
            return self._computed(*tensors, **constants)
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise
        except Exception:
            log.warning("torch cannot compile %s here: it runs uncompiled", self._function.__name__, exc_info=True)
            self._may_compile = False
            return self._function(*tensors, **constants)

    def _computed(self, *tensors: Tensor, **constants: float) -> Tensor:
        first = tensors[0]
        kind = (first.device, first.dtype, first.shape[1:], *constants.values())
        if kind in self._kinds:
            return self._compiled(*tensors, **constants)
        for tensor in tensors:
            if len(tensor) == len(first):
                # One code for any number of rows; all other sizes are constants, which makes it several times faster.
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        # The first time it is compiled and timed, for which it waits for the GPU.
        with DEVICE_WIDE:
            result = self._compiled(*tensors, **constants)
        self._kinds.add(kind)
        return result

    def _suits(self, first: Tensor) -> bool:
        # Not in training, which is not what has to be fast, and whose passes have to round alike.
        large = first.is_cuda and len(first) >= FEWEST_ROWS
        return large and self._may_compile and torch.is_inference_mode_enabled() and can_compile()

    @cached_property
    def _compiled(self) -> Callable[..., Tensor]:
        # At first use: it imports half a second of torch.
        return torch.compile(self._function, dynamic=False)


@cache
def can_compile() -> bool:
    """True if this machine has what `torch.compile` needs for a GPU."""
    return find_spec("triton") is not None and any(map(shutil.which, COMPILERS))


def _add_layer_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, *, eps: float) -> Tensor:
    return layer_norm(x + residual, weight.shape, weight, bias, eps)


def _silu_product(gate: Tensor, up: Tensor) -> Tensor:
    return silu(gate) * up


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # Halves as a dimension of their own, which is only turned: compiled code then reads each number where it needs it.
    half = heads.shape[-1] // 2
    halves = heads.view(*heads.shape[:-1], 2, half).float()
    cos, sin = (part.float().view(len(part), 1, 1, 2, half) for part in (cos, sin))
    sign = 2 * torch.arange(2, device=heads.device)[:, None] - 1
    return (halves * cos + halves.flip(-2) * (sin * sign)).view(heads.shape).to(heads.dtype)


def linear_gelu(linear: nn.Linear, x: Tensor) -> Tensor:
    """GELU of a linear layer, within its product on a GPU: [n, in_features] -> [n, out_features].

    GELU there is the approximation by tanh (Hendrycks and Gimpel, arXiv:1606.08415), which takes vectors a fortieth as
    far as bfloat16 does. It is for nothing more exact than that (docs/decisions/0008-gpu.md).
    """
    return torch._addmm_activation(linear.bias, x, linear.weight.T, use_gelu=True)


add_layer_norm = Fused(_add_layer_norm)
"""x + residual, normalized over its last dimension: [n, dim], [n, dim], [dim], [dim] -> [n, dim]."""

silu_product = Fused(_silu_product)
"""silu(gate) * up: [n, width] each -> [n, width]."""

rotated = Fused(_rotated)
"""Rotary positions: [n_tokens, n, n_heads, head_dim] to the same, computed in float32, rounded once.

`cos` and `sin` are [n_tokens, head_dim], and their second halves equal the first.
"""
