"""What colpali-engine makes of checkpoints: run by `.venv-oracle` as `visual.py REQUEST.json ANSWER.npz`.

The request: `models_dir`, `checkpoints` {label: [family, name under models_dir]}, `images` (files), `queries`,
optionally `device`. The answer holds, under `{label}/`, for image i `image.{i}.vectors` [n_tokens, dim], `.mask`
[n_tokens] (True for image tokens) and `.grid` (columns, rows); for query i `query.{i}.vectors`; and `scores` [queries,
images] by `score_multi_vector`. Every input is computed alone, so nothing is padded.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import missing_operators  # noqa: F401 - before colpali_engine
import numpy as np
import torch
from colpali_engine import models
from PIL import Image

CLASSES = {
    "colqwen2.5": (models.ColQwen2_5, models.ColQwen2_5_Processor),
    "colqwen2": (models.ColQwen2, models.ColQwen2Processor),
    "colpali": (models.ColPali, models.ColPaliProcessor),
}


def main(request: dict[str, Any]) -> dict[str, np.ndarray]:
    # An adapter names its base by a path that is relative to this folder.
    os.chdir(request["models_dir"])
    with torch.inference_mode():
        return {
            f"{label}/{key}": np.asarray(value)
            for label, (family, checkpoint) in request["checkpoints"].items()
            for key, value in describe(family, checkpoint, request)
        }


def describe(family: str, checkpoint: str, request: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    model_class, processor_class = CLASSES[family]
    device = request.get("device", "cpu")
    model = model_class.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa")
    model = model.to(device).eval()
    processor = processor_class.from_pretrained(checkpoint)
    pages, queries = [], []
    for i, file in enumerate(request["images"]):
        image = Image.open(file)
        inputs = processor.process_images([image]).to(device)
        pages.append(model(**inputs)[0].cpu())
        yield f"image.{i}.vectors", pages[-1]
        yield f"image.{i}.mask", processor.get_image_mask(inputs)[0].cpu()
        yield f"image.{i}.grid", grid(model, processor, image)
    for i, text in enumerate(request["queries"]):
        inputs = processor.process_queries([text]).to(device)
        queries.append(model(**inputs)[0].cpu())
        yield f"query.{i}.vectors", queries[-1]
    # Page by page: pages of several lengths are padded with zero rows, which win over a negative maximum.
    scores = [processor.score_multi_vector(queries, [page], device="cpu") for page in pages]
    yield "scores", torch.cat(scores, dim=1)


def grid(model: Any, processor: Any, image: Image.Image) -> tuple[int, int]:
    if isinstance(model, models.ColPali):
        return processor.get_n_patches(image.size, patch_size=model.config.vision_config.patch_size)
    return processor.get_n_patches(image.size, spatial_merge_size=model.spatial_merge_size)


if __name__ == "__main__":
    np.savez(sys.argv[2], **main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
