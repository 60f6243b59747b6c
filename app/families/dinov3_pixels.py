"""From a decoded image to the numbers that DINOv3 reads: sizes, resizing, normalizing.

Follows transformers' `DINOv3ViTImageProcessor` without torchvision: rescale, resize, normalize, in this order.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from app.core.errors import BadInputError, ModelLoadError
from app.core.types import NO_LIMITS, ImageLimits, PatchGrid
from app.families.base import Checkpoint
from app.families.files import read_json

MAX_PIXELS = 1024 * 1024
"""Larger images are scaled down to about this many pixels (4096 patches of 16 pixels), keeping their shape."""

MAX_IMAGE_SIZE = 2048
"""Longest side in pixels of the square that a caller may ask for; it is not capped by `MAX_PIXELS`."""

RESAMPLING = {2: "bilinear", 3: "bicubic"}
"""Pillow's number for it in `preprocessor_config.json` -> torch's name."""


def fitting_grid(width: int, height: int, patch_size: int, limits: ImageLimits = NO_LIMITS) -> PatchGrid:
    """Patches of an image of that size in pixels: each side to the nearest multiple of `patch_size`, at least one.

    An image of more than `MAX_PIXELS`, or than `limits` allow, is scaled down first. Raises `BadInputError`.
    """
    if width < 1 or height < 1:
        raise BadInputError("An image needs at least one pixel each way.")
    max_patches = _max_patches(patch_size, limits)
    columns, rows = _nearest(width, patch_size), _nearest(height, patch_size)
    if columns * rows > max_patches:
        # Solves columns * rows = max_patches with columns / rows = width / height.
        columns = _clamped(math.isqrt(max_patches * width // height), max_patches)
        rows = _clamped(math.isqrt(max_patches * height // width), max_patches)
    return PatchGrid(columns, rows)


def square_grid(image_size: int, patch_size: int) -> PatchGrid:
    """Patches of a square with that side in pixels, taken to the nearest multiple. Raises `BadInputError`."""
    if not 1 <= image_size <= MAX_IMAGE_SIZE:
        raise BadInputError(f"image_size is a number of pixels from 1 to {MAX_IMAGE_SIZE}.")
    side = _nearest(image_size, patch_size)
    return PatchGrid(side, side)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What `preprocessor_config.json` says of pixels; its `size` is not used, sizes follow the image."""

    factor: float
    """From 0..255 to what `mean` and `deviation` are measured in."""
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    mode: str
    """`bilinear` or `bicubic`"""

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Self:
        """Raises `ModelLoadError`: made-up values would give slightly wrong vectors."""
        config = read_json(checkpoint.path / "preprocessor_config.json")
        try:
            return cls(
                factor=config["rescale_factor"] if config["do_rescale"] else 1.0,
                mean=tuple(config["image_mean"]) if config["do_normalize"] else (0.0, 0.0, 0.0),
                deviation=tuple(config["image_std"]) if config["do_normalize"] else (1.0, 1.0, 1.0),
                mode=RESAMPLING[config["resample"]],
            )
        except KeyError as error:
            raise ModelLoadError(
                "The checkpoint's preprocessor_config.json lacks one of do_rescale, rescale_factor, do_normalize, "
                "image_mean, image_std, or its resample is neither 2 (bilinear) nor 3 (bicubic)."
            ) from error

    def pixel_values(self, image: Image.Image, width: int, height: int) -> Tensor:
        """The RGB image at `width` x `height` pixels: [3, height, width], float32."""
        # One channel at a time: the whole of a 40 megapixel photograph would be 480 MB of floats.
        return torch.stack([self._channel(image, index, width, height) for index in range(3)])

    def _channel(self, image: Image.Image, index: int, width: int, height: int) -> Tensor:
        values = torch.from_numpy(np.array(image.getchannel(index), dtype=np.float32)).mul_(self.factor)
        if values.shape != (height, width):
            values = interpolate(values[None, None], (height, width), mode=self.mode, antialias=True)[0, 0]
        return values.sub_(self.mean[index]).div_(self.deviation[index])


def _max_patches(patch_size: int, limits: ImageLimits) -> int:
    patch_pixels = patch_size**2
    max_pixels = MAX_PIXELS if limits.max_pixels is None else min(MAX_PIXELS, limits.max_pixels)
    if max_pixels < patch_pixels:
        raise BadInputError(f"An image takes at least {patch_pixels} pixels with this model; raise `max_pixels`.")
    max_patches = max_pixels // patch_pixels
    return max_patches if limits.max_visual_tokens is None else min(max_patches, limits.max_visual_tokens)


def _nearest(side: int, patch_size: int) -> int:
    return max(1, (side + patch_size // 2) // patch_size)


def _clamped(n_patches: int, highest: int) -> int:
    return min(max(n_patches, 1), highest)
