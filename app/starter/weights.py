"""Random weights that are the same on every machine."""

import math

import numpy as np
import torch
from torch import nn


def randomize(module: nn.Module, seed: int) -> None:
    """Replace every parameter, in the order of the module, by numbers that depend on `seed` alone.

    Embeddings get standard deviation 1 and matrices 1 / sqrt(fan in): with the much smaller values of the usual
    initialization all inputs of an untrained transformer end at nearly the same vector. Norms and biases are
    moved off 1 and 0, so that a test notices code that leaves them out.
    """
    # NumPy's generator, because the values of torch's depend on the processor's vector instructions.
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for owner in module.modules():
            for name, parameter in owner.named_parameters(recurse=False):
                values = torch.from_numpy(random.standard_normal(tuple(parameter.shape), dtype=np.float32))
                parameter.copy_(values * _deviation(owner, parameter) + _mean(owner, name))


def _deviation(owner: nn.Module, parameter: nn.Parameter) -> float:
    if isinstance(owner, nn.Embedding) or (parameter.ndim > 1 and not isinstance(owner, nn.Linear | nn.Conv2d)):
        return 1.0
    if parameter.ndim > 1:
        return 1 / math.sqrt(math.prod(parameter.shape[1:]))
    return 0.1


def _mean(owner: nn.Module, name: str) -> float:
    """1 for what multiplies (the weights of a norm, a layer scale), 0 for the rest."""
    return 1.0 if name == "lambda1" or (isinstance(owner, nn.LayerNorm) and name == "weight") else 0.0
