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

    They are no longer of unit length. Raises `BadInputError` as `check_length` does.
    """
    check_length(dimensions, vectors.shape[-1])
    return vectors[..., :dimensions]


def check_length(dimensions: int, dim: int) -> None:
    """Raises `BadInputError` if vectors of `dim` numbers have fewer than `dimensions`, or none are asked for."""
    if not 1 <= dimensions <= dim:
        raise BadInputError(f"`dimensions` lies between 1 and {dim} for this model.")
