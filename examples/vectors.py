"""Read vectors in every format that the server writes: `.venv/bin/python examples/vectors.py http://127.0.0.1:8000`.

Needs httpx, NumPy and, for safetensors, the package of that name. The formats are described in docs/wire-formats.md.
"""

import base64
import io
import json
import sys
from typing import Any

import numpy as np
from safetensors.numpy import load

Arrays = dict[str, np.ndarray]


def read_json_vectors(vectors: Any) -> np.ndarray:
    """One vector, or one a row, from JSON: plain lists, or an object with `data`, `dtype` and `shape`."""
    if not isinstance(vectors, dict):
        return np.array(vectors)
    data = vectors["data"]
    if isinstance(data, str):
        array = np.frombuffer(base64.b64decode(data), vectors["dtype"])
    else:
        array = np.array(data, vectors["dtype"])
    array = array.reshape(vectors["shape"])
    return dequantized(array, np.float32(vectors["scales"])) if "scales" in vectors else array


def read_safetensors(body: bytes) -> tuple[Arrays, Any]:
    """The arrays by name, and the rest of the answer."""
    header_length = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + header_length])
    return load(body), json.loads(header["__metadata__"]["metadata"])


def read_npz(body: bytes) -> tuple[Arrays, Any]:
    """The arrays by name, and the rest of the answer."""
    with np.load(io.BytesIO(body)) as file:
        arrays = dict(file)
    return arrays, json.loads(bytes(arrays.pop("metadata")))


def dequantized(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The numbers that `dtype=int8` stands for: `values` [dim] or [n_rows, dim], `scales` [n_rows]."""
    return values * (scales if values.ndim == 1 else scales[:, None])


def signs(packed: np.ndarray, dim: int) -> np.ndarray:
    """The signs that `dtype=ubinary` stands for: -1 or 1, [..., dim]."""
    return np.unpackbits(packed, axis=-1, count=dim).astype(np.int8) * 2 - 1


def main(url: str) -> None:
    import httpx

    body = {"queries": ["cargo in Skagen", "shore power"]}
    with httpx.Client(base_url=url, timeout=120) as client:
        lists = client.post("/embed/queries", json=body).json()["embeddings"]
        encoded = client.post("/embed/queries", json=body | {"encoding_format": "base64"}).json()["embeddings"]
        safetensors = client.post("/embed/queries", json=body, headers={"Accept": "application/x-safetensors"})
        npz = client.post("/embed/queries", json=body | {"dtype": "float16"}, headers={"Accept": "application/x-npz"})
    print("JSON:", [read_json_vectors(rows).shape for rows in lists])
    print("base64:", [read_json_vectors(rows).shape for rows in encoded])
    for name, read, answer in (("safetensors", read_safetensors, safetensors), ("npz", read_npz, npz)):
        arrays, rest = read(answer.content)
        print(f"{name}:", {key: (array.dtype.name, array.shape) for key, array in arrays.items()}, rest)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
