"""What FlagEmbedding makes of a BGE-M3 checkpoint: run by `.venv-oracle` as `bge_m3.py REQUEST.json ANSWER.npz`.

The request: `path` of a checkpoint with the hub's pickles, `texts`, optionally `device`. The answer holds `dense`
[texts, dim]; for text i `lexical.i.ids`, `.weights`, and `.tokens` and `.token_weights` of its `convert_id_to_token`;
`colbert.i` [n_tokens - 1, dim]; and `scores` [texts, texts] by its `colbert_score`. Every text is computed alone.
"""

import json
import sys
from pathlib import Path
from typing import Any

import missing_operators  # noqa: F401 - before FlagEmbedding
import numpy as np
from FlagEmbedding import BGEM3FlagModel

MAX_TOKENS = 8192


def main(request: dict[str, Any]) -> dict[str, np.ndarray]:
    device = request.get("device", "cpu")
    model = BGEM3FlagModel(request["path"], use_fp16=False, devices=device)
    outputs = [
        model.encode_single_device(
            text, max_length=MAX_TOKENS, return_sparse=True, return_colbert_vecs=True, device=device
        )
        for text in request["texts"]
    ]
    answer = {"dense": np.stack([output["dense_vecs"] for output in outputs])}
    for i, output in enumerate(outputs):
        weights = output["lexical_weights"]
        by_token = model.convert_id_to_token(weights)
        answer[f"lexical.{i}.ids"] = np.array([int(token_id) for token_id in weights], dtype=np.int64)
        answer[f"lexical.{i}.weights"] = np.array(list(weights.values()), dtype=np.float32)
        answer[f"lexical.{i}.tokens"] = np.array(list(by_token), dtype=np.str_)
        answer[f"lexical.{i}.token_weights"] = np.array(list(by_token.values()), dtype=np.float32)
        answer[f"colbert.{i}"] = output["colbert_vecs"]
    rows = [output["colbert_vecs"] for output in outputs]
    answer["scores"] = np.array([[model.colbert_score(query, passage).item() for passage in rows] for query in rows])
    return answer


if __name__ == "__main__":
    np.savez(sys.argv[2], **main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
