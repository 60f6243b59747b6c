"""Vectors in fewer bytes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray

INT8_LIMIT = 127


class DType(StrEnum):
    """How the numbers of a vector are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UBINARY = "ubinary"


@dataclass(frozen=True, slots=True, eq=False)
class StoredVectors:
    """One vector, or one a row, as they are stored."""

    values: NDArray[Any]
    """[dim] or [n_rows, dim]: float32, float16 or int8; of `ubinary` uint8 [..., ceil(dim / 8)]."""
    scales: FloatArray | None = None
    """Of `int8`: [n_rows], or [1] for a single vector. `values * scales[:, None]` gives the numbers back."""


def stored(vectors: FloatArray, dtype: DType) -> StoredVectors:
    """Store vectors [dim] or [n_rows, dim].

    `int8`: a row's largest magnitude becomes 127 and the others are rounded to whole steps, so that a number is off by
    half of its row's scale at most. `ubinary`: a bit for each number, 1 if it is above 0, packed as `numpy.packbits`
    does it; the last byte is filled up with zeros.
    """
    if dtype is DType.INT8:
        return _int8(vectors)
    if dtype is DType.UBINARY:
        return StoredVectors(np.packbits(vectors > 0, axis=-1))
    return StoredVectors(vectors.astype(dtype.value, copy=False))


def _int8(vectors: FloatArray) -> StoredVectors:
    scales = np.abs(vectors).max(axis=-1, keepdims=True, initial=0) / np.float32(INT8_LIMIT)
    # A row of zeros has no scale of its own.
    steps = vectors / np.where(scales > 0, scales, 1)
    return StoredVectors(np.rint(steps).astype(np.int8), scales.reshape(-1))
