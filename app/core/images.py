"""Decoding of uploaded pictures, which may be broken, hostile or just unusual."""

from contextlib import suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from app.core.errors import BadInputError, TooLargeError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
"""All that is ever tried: Pillow knows more, among them some that start other programs."""

HIGH_BIT_DEPTH_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
"""Greyscale with more than 8 bits; Pillow's own conversion clips these at 255."""


def decode_image(data: bytes, label: str, max_pixels: int) -> Image.Image:
    """The first frame of an encoded picture in RGB, upright as its EXIF data say, transparency over white.

    `label` names the picture in error messages. Raises `TooLargeError` for more than `max_pixels` pixels,
    before they are decoded, and `BadInputError` for what is no picture, of another format, or broken.
    """
    try:
        image = _open(data, label, max_pixels)
        image.load()
        return _to_rgb(_upright(image))
    except (BadInputError, TooLargeError):
        raise
    # A decoder fed with garbage may raise nearly anything: OSError, SyntaxError, struct.error, MemoryError, ...
    except Exception as error:
        raise BadInputError(f"{label} is a broken image: it cannot be decoded.") from error


def _open(data: bytes, label: str, max_pixels: int) -> Image.Image:
    """Read the header only and check what it announces."""
    if not data:
        raise BadInputError(f"{label} is empty.")
    too_large = TooLargeError(f"{label} has more pixels than the limit of {max_pixels / 1e6:g} megapixels.")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadInputError(f"{label} is not an image that can be read. Formats: {', '.join(FORMATS)}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large from error
    if image.width < 1 or image.height < 1:
        raise BadInputError(f"{label} has no pixels.")
    if image.width * image.height > max_pixels:
        raise too_large
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says; unreadable EXIF data leave it as it is."""
    # In place: otherwise a picture that is upright already would be copied, which takes longer than to decode a JPEG.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in HIGH_BIT_DEPTH_MODES:
        image = _to_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(rgba, mask=rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16 bits; 32-bit integers and floats, which have no agreed white, are stretched to 0..255."""
    pixels = np.asarray(image)
    if pixels.dtype.itemsize == 2:
        return Image.fromarray((pixels >> 8).astype(np.uint8))
    values: NDArray[np.float64] = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    values -= values.min()
    values *= 255 / max(values.max(), 1e-30)
    return Image.fromarray(values.astype(np.uint8))
