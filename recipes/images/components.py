"""Patches of pictures as colors: their first three principal components, as the DINO papers show them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import DINOv3ViTModel

from recipes.images.objective import features
from recipes.images.views import as_values, normalized

SHOWN_SIDE = 112
"""Pixels of one picture in the sheet."""
CUT = 2.0
"""Percent of the values at either end that are shown as the darkest and the brightest."""


def component_sheet(models: Sequence[DINOv3ViTModel], pictures: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """A row of pictures [side, side, 3] and below it a row for each model."""
    images = [[Image.fromarray(picture) for picture in pictures]]
    images += [[Image.fromarray(principal_colors(model, picture)) for picture in pictures] for model in models]
    sheet = Image.new("RGB", (len(pictures) * SHOWN_SIDE, len(images) * SHOWN_SIDE))
    for row, shown in enumerate(images):
        for column, image in enumerate(shown):
            method = Image.Resampling.BOX if row == 0 else Image.Resampling.NEAREST
            tile = image.resize((SHOWN_SIDE, SHOWN_SIDE), method)
            sheet.paste(tile, (column * SHOWN_SIDE, row * SHOWN_SIDE))
    return sheet


@torch.inference_mode()
def principal_colors(model: DINOv3ViTModel, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[rows, columns, 3]: red, green and blue are the components that vary most among this picture's patches."""
    pixels = normalized(as_values(torch.from_numpy(picture)[None], halved=False))
    patches = features(model, pixels).patches[0].flatten(1).T
    centered = patches - patches.mean(dim=0)
    _, _, directions = torch.linalg.svd(centered, full_matrices=False)
    components = (centered @ directions[:3].T).numpy()
    low, high = np.percentile(components, (CUT, 100 - CUT), axis=0)
    levels = np.clip((components - low) / np.maximum(high - low, 1e-9), 0, 1)
    rows = picture.shape[0] // model.config.patch_size
    colors: NDArray[np.uint8] = (levels * 255).astype(np.uint8).reshape(rows, -1, 3)
    return colors
