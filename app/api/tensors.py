"""Answers as named arrays: safetensors and NumPy's npz."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors.numpy import save

from app.core.quantization import StoredVectors

METADATA = "metadata"
"""Where the rest of the answer stands: a JSON text in the metadata of safetensors, its bytes as an array in npz."""

Tensors = dict[str, NDArray[Any]]


class ById(dict[str, Any]):
    """An object whose keys are the client's own ids, which may be anything: its tensors are named by their place."""


def to_safetensors(content: Any) -> bytes:
    """The arrays of `content` with their names, and what is left of it as `metadata`."""
    tensors, rest = split(content)
    return save(tensors, metadata={METADATA: _json(rest).decode()})


def to_npz(content: Any) -> bytes:
    """The same in a ZIP of .npy files, uncompressed: vectors hardly shrink."""
    tensors, rest = split(content)
    file = io.BytesIO()
    np.savez(file, **tensors, metadata=np.frombuffer(_json(rest), np.uint8))  # type: ignore[arg-type]
    return file.getvalue()


def split(content: Any) -> tuple[Tensors, Any]:
    """The arrays of `content` by name, and `content` with the names in their places.

    A name is the path to the array: `embeddings.0.embedding`. Scales stand under the name of their vectors and
    `.scales`. A list of single vectors [dim] is one array [n, dim].
    """
    tensors: Tensors = {}
    rest = _split(content, "", tensors)
    return tensors, rest


def _split(content: Any, name: str, tensors: Tensors) -> Any:
    match content:
        case StoredVectors():
            return _add(content, name, tensors)
        case np.ndarray():
            tensors[name] = np.ascontiguousarray(content)
            return name
        case ById():
            return {key: _split(part, _join(name, i), tensors) for i, (key, part) in enumerate(content.items())}
        case dict():
            return {key: _split(part, _join(name, key), tensors) for key, part in content.items()}
        case [StoredVectors(), *_] if content[0].values.ndim == 1:
            return _add(_stacked(content), name, tensors)
        case list():
            return [_split(part, _join(name, i), tensors) for i, part in enumerate(content)]
        case _:
            return content


def _add(vectors: StoredVectors, name: str, tensors: Tensors) -> str:
    tensors[name] = np.ascontiguousarray(vectors.values)
    if vectors.scales is not None:
        tensors[_join(name, "scales")] = vectors.scales
    return name


def _stacked(vectors: Sequence[StoredVectors]) -> StoredVectors:
    """Single vectors [dim] as the rows of a matrix."""
    scales = [one.scales for one in vectors if one.scales is not None]
    return StoredVectors(np.stack([one.values for one in vectors]), np.concatenate(scales) if scales else None)


def _join(name: str, part: str | int) -> str:
    return f"{name}.{part}" if name else str(part)


def _json(rest: Any) -> bytes:
    return orjson.dumps(rest, option=orjson.OPT_SERIALIZE_NUMPY)
