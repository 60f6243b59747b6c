"""What a model wrote, as the request wants it: pooled, cut, scaled, in fewer bytes."""

from dataclasses import replace

from app.api.schemas.options import PageRowOptions, TextRowOptions, VectorOptions
from app.core.pooling import Pooling, pooled
from app.core.quantization import StoredVectors, stored
from app.core.types import FloatArray, MultiVectorEmbedding
from app.core.vectors import shortened, unit


def finished(vectors: FloatArray, options: VectorOptions, *, averaged: bool = False) -> FloatArray:
    """Vectors [dim] or [n_rows, dim], cut and scaled. `averaged`: they are means, and so no longer of unit length."""
    if options.dimensions is not None:
        vectors = shortened(vectors, options.dimensions)
    changed = averaged or options.dimensions is not None
    return unit(vectors) if (changed if options.normalize is None else options.normalize) else vectors


def finished_rows(embedding: MultiVectorEmbedding, options: TextRowOptions | PageRowOptions) -> MultiVectorEmbedding:
    """A text or page whose rows [n_rows, dim] are pooled, cut and scaled."""
    result = pooled(embedding, options.pooling, options.pool_factor)
    averaged = options.pooling is not Pooling.NONE
    return replace(result, vectors=finished(result.vectors, options, averaged=averaged))


def dense(vector: FloatArray, options: VectorOptions) -> StoredVectors:
    """One vector [dim], ready to be written."""
    return stored(finished(vector, options), options.dtype)


def rows(embedding: MultiVectorEmbedding, options: TextRowOptions | PageRowOptions) -> StoredVectors:
    """All rows of a text or page, ready to be written."""
    return stored(finished_rows(embedding, options).vectors, options.dtype)
