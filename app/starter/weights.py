"""Random weights that are the same on every machine."""

import math

import numpy as np
import torch
from torch import nn

GAIN = 2.0
"""Tried out: enough for attention to tell tokens apart, so that unlike texts end at unlike vectors."""


def randomize(module: nn.Module, seed: int) -> None:
    """Replace every parameter, in the order of the module, by numbers that depend on `seed` alone.

    Embeddings of words get standard deviation 1 and matrices GAIN / sqrt(fan in): with the much smaller values of the
    usual initialization all inputs of an untrained transformer end at nearly the same vector. What all inputs share
    (positions, biases) stays small, but not 0, so that a test notices code that leaves it out.
    """
    # NumPy's generator, because the values of torch's depend on the processor's vector instructions.
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for path, owner in module.named_modules():
            for name, parameter in owner.named_parameters(recurse=False):
                values = torch.from_numpy(random.standard_normal(tuple(parameter.shape), dtype=np.float32))
                mean, deviation = _distribution(owner, f"{path}.{name}", parameter)
                parameter.copy_(values * deviation + mean)


def _distribution(owner: nn.Module, name: str, parameter: nn.Parameter) -> tuple[float, float]:
    """Mean and standard deviation of the parameter's values."""
    if name.endswith("word_embeddings.weight"):
        return 0.0, 1.0
    if isinstance(owner, nn.Linear | nn.Conv2d) and parameter.ndim > 1:
        return 0.0, GAIN / math.sqrt(math.prod(parameter.shape[1:]))
    multiplies = name.endswith("lambda1") or (isinstance(owner, nn.LayerNorm) and name.endswith("weight"))
    return float(multiplies), 0.1
