"""How long it takes to write a multi-vector, from array to bytes: `make bench-wire`.

A page of ColQwen2.5 (768 x 128) and the ColBERT matrix of a text of 512 tokens (512 x 1024), in every format that the
server writes, beside what a server without them would do: `json.dumps` of lists, and FastAPI's default encoder. Each
way writes the whole body of `/embed/queries` with one query.
"""

import json
from collections.abc import Callable
from statistics import median

import numpy as np
from fastapi.encoders import jsonable_encoder

from app.api.encoding import encoded
from app.api.negotiation import MediaType
from app.api.schemas.options import EncodingFormat
from app.core.quantization import DType, stored
from app.core.types import FloatArray
from app.core.vectors import unit
from benchmarks.report import Report, interleaved, ratio

ROUNDS = 21
MATRICES = {"One page, 768 x 128": (768, 128), "One text's ColBERT matrix, 512 x 1024": (512, 1024)}
GOALS_MS = {"One page, 768 x 128": {"JSON": 4.0}, "One text's ColBERT matrix, 512 x 1024": {"JSON": 30.0}}
BINARY_GOAL_MS = 0.5
"""For both matrices."""

Write = Callable[[], bytes]


def ways(matrix: FloatArray) -> dict[str, Write]:
    """What is compared, by name: peers first."""
    return {
        "FastAPI's default encoder": lambda: json.dumps(jsonable_encoder(_lists(matrix))).encode(),
        "json.dumps of lists": lambda: json.dumps(_lists(matrix)).encode(),
        "JSON": _ours(matrix, MediaType.JSON),
        "JSON, float16": _ours(matrix, MediaType.JSON, DType.FLOAT16),
        "JSON, int8": _ours(matrix, MediaType.JSON, DType.INT8),
        "JSON, ubinary": _ours(matrix, MediaType.JSON, DType.UBINARY),
        "base64": _ours(matrix, MediaType.JSON, encoding_format=EncodingFormat.BASE64),
        "base64, float16": _ours(matrix, MediaType.JSON, DType.FLOAT16, EncodingFormat.BASE64),
        "npz": _ours(matrix, MediaType.NPZ),
        "npz, float16": _ours(matrix, MediaType.NPZ, DType.FLOAT16),
        "safetensors": _ours(matrix, MediaType.SAFETENSORS),
        "safetensors, float16": _ours(matrix, MediaType.SAFETENSORS, DType.FLOAT16),
        "safetensors, int8": _ours(matrix, MediaType.SAFETENSORS, DType.INT8),
        "safetensors, ubinary": _ours(matrix, MediaType.SAFETENSORS, DType.UBINARY),
    }


def main() -> None:
    report = Report("wire", "Array to bytes")
    for title, shape in MATRICES.items():
        matrix = unit(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        written = ways(matrix)
        seconds = interleaved(written, rounds=ROUNDS)
        table = report.table(title, note=f"Milliseconds, medians of {ROUNDS} rounds in turn, one thread.")
        for name, write in written.items():
            table.row(
                way=name,
                ms=1000 * median(seconds[name]),
                goal_ms=GOALS_MS[title].get(name, BINARY_GOAL_MS if name in ("npz", "safetensors") else None),
                kilobytes=len(write()) / 1000,
                times_json_dumps=ratio(seconds["json.dumps of lists"], seconds[name]),
            )
    report.finish()


def _ours(
    matrix: FloatArray,
    media_type: MediaType,
    dtype: DType = DType.FLOAT32,
    encoding_format: EncodingFormat = EncodingFormat.FLOAT,
) -> Write:
    """Storing in `dtype` is part of it."""
    return lambda: encoded({"embeddings": [stored(matrix, dtype)]}, media_type, encoding_format)


def _lists(matrix: FloatArray) -> dict[str, object]:
    return {"embeddings": [matrix.tolist()]}


if __name__ == "__main__":
    main()
