"""Muon, an optimizer for the matrices inside of layers (Keller Jordan, https://kellerjordan.github.io/posts/muon/).

torch has it too, but always computes in bfloat16, which processors without instructions for that do 30 times more
slowly than float32.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recipes.precision import fast_bfloat16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
N_ITERATIONS = 5


class Muon(Optimizer):
    """Steps along the nearest orthogonal matrix to the momentum, as long as AdamW's steps would be."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(momentum, group["momentum"]))
        # AdamW moves every number by about a fifth of its rate.
        length = 0.2 * max(parameter.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix with singular values 1: they end between 0.7 and 1.2."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    a, b, c = NEWTON_SCHULZ
    x = wide / wide.norm().clamp_min(1e-7)
    if fast_bfloat16():
        x = x.bfloat16()
    for _ in range(N_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrix.dtype)
    found: Tensor = x.T if matrix.shape[0] > matrix.shape[1] else x
    return found
