"""From a decoded page to the bytes that a vision model reads, and from these to numbers.

Pages wait for the model as bytes: a quarter of the memory of float32, and a quarter of what goes to a GPU.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from app.families.torch_model import to_device

# Pillow hands out its pixels as bytes, which nobody may write to, and nobody does.
warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writable")


def resize(image: Image.Image, width: int, height: int) -> Tensor:
    """The RGB image as [3, height, width] uint8, resized as the image processors of transformers do it.

    They take this function by way of torchvision. Pillow's bicubic filter, which they use without torchvision,
    rounds otherwise: up to two levels of 255 apart.
    """
    # RGBX is how Pillow keeps RGB, and four channels side by side are what torch resizes fastest.
    rows = np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(image.height, image.width, 4)
    resized = interpolate(_channels_last(torch.from_numpy(rows)), (height, width), mode="bicubic", antialias=True)
    return resized[0, :3]


def patches(pixels: Tensor, side: int, merge: int) -> Tensor:
    """The patches of [3, height, width] as rows [n_patches, 3 * side * side], in the order of Qwen2-VL.

    The patches of one visual token, `merge` x `merge` neighbours, follow one another.
    """
    _, height, width = pixels.shape
    blocks = pixels.numpy().reshape(3, height // (side * merge), merge, side, width // (side * merge), merge, side)
    ordered = np.ascontiguousarray(blocks.transpose(1, 4, 2, 5, 0, 3, 6))
    return torch.from_numpy(ordered.reshape(-1, 3 * side * side))


@dataclass(frozen=True, slots=True)
class Normalization:
    """What an image processor does to resized pixels, as one multiplication and one addition a channel."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def of(cls, processor: Any) -> Self:
        """From the settings of a transformers image processor."""
        factor = processor.rescale_factor if processor.do_rescale else 1.0
        means = processor.image_mean if processor.do_normalize else (0.0, 0.0, 0.0)
        deviations = processor.image_std if processor.do_normalize else (1.0, 1.0, 1.0)
        return cls(
            scale=tuple(factor / deviation for deviation in deviations),
            offset=tuple(-mean / deviation for mean, deviation in zip(means, deviations, strict=True)),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """[..., 3, n] uint8 -> the same in float32, on the same device."""
        scale, offset = (
            to_device(torch.tensor(part), str(pixels.device))[:, None] for part in (self.scale, self.offset)
        )
        return torch.addcmul(offset, pixels.float(), scale)


def _channels_last(rows: Tensor) -> Tensor:
    """[height, width, channels] as [1, channels, height, width] in the same memory.

    With the strides of a whole batch: with those of `permute` torch would take it for planes and copy the result.
    """
    height, width, channels = rows.shape
    return rows.as_strided((1, channels, height, width), (rows.numel(), 1, width * channels, channels))
