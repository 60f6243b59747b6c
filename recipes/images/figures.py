"""What the vectors of pictures are worth: recall under changes, a probe of the patches, digits."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import DINOv3ViTModel

from app.core.types import FloatArray
from app.evaluation.metrics import recall_at_k
from app.families.dinov3_pixels import Preprocessing, fitting_grid
from recipes.images.views import DEVIATION, MEAN

PREPROCESSING = Preprocessing(1 / 255, MEAN, DEVIATION, "bilinear")


@torch.inference_mode()
def encoded(model: DINOv3ViTModel, images: Sequence[Image.Image]) -> tuple[FloatArray, list[FloatArray]]:
    """Class tokens [n, dim], and each image's patches [n_patches, dim], at its own size."""
    size, skipped = model.config.patch_size, 1 + model.config.num_register_tokens
    whole, patches = [], []
    for image in images:
        grid = fitting_grid(*image.size, size)
        pixels = PREPROCESSING.pixel_values(image, grid.n_patches_x * size, grid.n_patches_y * size)
        tokens = model(pixel_values=pixels[None]).last_hidden_state[0].float().numpy()
        whole.append(tokens[0])
        patches.append(tokens[skipped:])
    return np.array(whole), patches


def recall(queries: FloatArray, gallery: FloatArray) -> float:
    """Share of queries [n, dim] whose nearest row of `gallery` [n, dim] by cosine has the same number."""
    scores = unit(queries) @ unit(gallery).T
    return float(recall_at_k(scores, [{i} for i in range(len(scores))], 1).mean())


def unit(rows: FloatArray) -> FloatArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
