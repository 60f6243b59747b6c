"""Embedding libraries, called as their users call them: all texts at once, vectors back.

Each is a function from a checkpoint's folder to an `Encode`. It imports its library itself: no environment has them
all. Vectors are E5's: the mean over the tokens, normalized.
"""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Vectors]

BATCH = 32
"""sentence-transformers' default."""


def sentence_transformers(checkpoint: Path) -> Encode:
    """Its defaults: PyTorch, float32, texts sorted by length, 32 a batch."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    return lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False))


def onnxruntime(checkpoint: Path) -> Encode:
    """All graph optimizations, texts sorted by length, 32 a batch."""
    return _sorted(checkpoint, _onnx_session(checkpoint / "onnx/model.onnx"), _fixed_batches)


def onnxruntime_budget(checkpoint: Path) -> Encode:
    """The same with at most 1024 padded tokens a batch: small batches that stay in the processor's cache."""
    return _sorted(checkpoint, _onnx_session(checkpoint / "onnx/model.onnx"), _token_budget)


def onnxruntime_int8(checkpoint: Path) -> Encode:
    """Dynamic int8, texts sorted by length, 32 a batch."""
    return _sorted(checkpoint, _onnx_session(checkpoint / "onnx/model_int8.onnx"), _fixed_batches)


def openvino(checkpoint: Path, precision: str = "f32") -> Encode:
    """Compiled for one request at a time; texts sorted by length, 32 a batch."""
    return _openvino(checkpoint, "onnx/model.onnx", {"INFERENCE_PRECISION_HINT": precision})


def openvino_int8(checkpoint: Path) -> Encode:
    """Weights in int8, activations quantized as they come, with a scale for 64 values each."""
    # With 32, its default, it is slower by a tenth, and no nearer to float32.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 64}
    return _openvino(checkpoint, "openvino/model_int8.xml", settings)


def openvino_static_int8(checkpoint: Path) -> Encode:
    """Weights and activations in int8, with scales that were found beforehand."""
    return _openvino(checkpoint, "openvino/model_static_int8.xml", {"INFERENCE_PRECISION_HINT": "f32"})


def fastembed(checkpoint: Path) -> Encode:
    """Its defaults with our export as a model of the user's own: arrival order, 256 a batch."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = f"local/{checkpoint.name}"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=json.loads((checkpoint / "config.json").read_text())["hidden_size"],
        model_file="onnx/model.onnx",
    )
    model = TextEmbedding(model_name=name, specific_model_path=str(checkpoint))
    return lambda texts: np.stack(list(model.embed(list(texts))))


ENGINES: dict[str, Callable[[Path], Encode]] = {
    "sentence-transformers": sentence_transformers,
    "onnxruntime": onnxruntime,
    "onnxruntime-budget": onnxruntime_budget,
    "onnxruntime-int8": onnxruntime_int8,
    "openvino": openvino,
    "openvino-bfloat16": partial(openvino, precision="bf16"),
    "openvino-int8": openvino_int8,
    "openvino-static-int8": openvino_static_int8,
    "fastembed": fastembed,
}

Batches = Callable[[list[int]], list[list[int]]]
"""Lengths in ascending order to groups of their indices."""


def _fixed_batches(lengths: list[int]) -> list[list[int]]:
    indices = list(range(len(lengths)))
    return [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]


def _token_budget(lengths: list[int], budget: int = 1024) -> list[list[int]]:
    batches: list[list[int]] = [[]]
    for index, length in enumerate(lengths):
        if (len(batches[-1]) + 1) * length > budget and batches[-1]:
            batches.append([])
        batches[-1].append(index)
    return batches


def _onnx_session(file: Path) -> Callable[[dict[str, Any]], Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)[0]


def openvino_core() -> Any:
    """Its entry point."""
    # Or else its converter reports the import over the network.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino as ov

    return ov.Core()


def _openvino(checkpoint: Path, file: str, settings: dict[str, Any]) -> Encode:
    core = openvino_core()
    model = core.compile_model(core.read_model(checkpoint / file), "CPU", {"PERFORMANCE_HINT": "LATENCY", **settings})
    return _sorted(checkpoint, lambda feed: model(feed)[0], _fixed_batches)


def open_tokenizer(checkpoint: Path) -> Any:
    """The checkpoint's tokenizer, which cuts texts where sentence-transformers would, and pads nothing."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.enable_truncation(_max_tokens(checkpoint))
    tokenizer.no_padding()
    return tokenizer


def _sorted(checkpoint: Path, run: Callable[[dict[str, Any]], Any], batches: Batches) -> Encode:
    """Tokenize, sort by length, run in `batches`, mean, normalize, back into the callers' order."""
    tokenizer = open_tokenizer(checkpoint)

    def encode(texts: Sequence[str]) -> Vectors:
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        vectors: list[Any] = [None] * len(ids)
        for batch in batches([len(ids[index]) for index in order]):
            members = [order[place] for place in batch]
            for member, vector in zip(members, _embed([ids[member] for member in members], run), strict=True):
                vectors[member] = vector
        return np.stack(vectors)

    return encode


def _max_tokens(checkpoint: Path) -> int:
    """Where sentence-transformers would cut a text."""
    settings = checkpoint / "sentence_bert_config.json"
    length: int = json.loads(settings.read_text())["max_seq_length"]
    return length


def padded(ids: list[list[int]]) -> dict[str, Any]:
    """A batch as an exported encoder reads it: `input_ids` and `attention_mask`, [n_texts, longest] int64."""
    longest = max(map(len, ids))
    input_ids = np.ones((len(ids), longest), np.int64)
    mask = np.zeros_like(input_ids)
    for row, text in enumerate(ids):
        input_ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return {"input_ids": input_ids, "attention_mask": mask}


def _embed(ids: list[list[int]], run: Callable[[dict[str, Any]], Any]) -> Vectors:
    batch = padded(ids)
    hidden = run(batch)
    weights = batch["attention_mask"][..., None].astype(np.float32)
    means = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    vectors: Vectors = means / np.linalg.norm(means, axis=-1, keepdims=True)
    return vectors
