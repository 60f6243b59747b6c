"""Lengths and widths of vectors."""

import numpy as np

from app.core.errors import BadInputError
from app.core.types import FloatArray

SMALLEST_LENGTH = 1e-12
"""What a vector is divided by at least, as in torch's `normalize`: zeros stay zeros."""


def unit(vectors: FloatArray) -> FloatArray:
    """Scale each vector [..., dim] to length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = vectors / np.maximum(lengths, SMALLEST_LENGTH)
    return scaled


def shortened(vectors: FloatArray, dimensions: int) -> FloatArray:
    """The first `dimensions` numbers of each vector [..., dim] (Kusupati et al., "Matryoshka", arXiv:2205.13147).

    They are no longer of unit length. Raises `BadInputError` if there are fewer, or none are asked for.
    """
    dim = vectors.shape[-1]
    if not 1 <= dimensions <= dim:
        raise BadInputError(f"`dimensions` lies between 1 and {dim} for this model.")
    return vectors[..., :dimensions]
