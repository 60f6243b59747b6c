"""Pictures for requests."""

import base64
import io
from collections.abc import Mapping

from PIL import Image

Box = tuple[int, int, int, int]


def png(width: int = 64, height: int = 48, color: str = "white", boxes: Mapping[Box, str] | None = None) -> bytes:
    """A PNG of one colour, with coloured boxes (left, top, right, bottom) on it."""
    image = Image.new("RGB", (width, height), color)
    for box, box_color in (boxes or {}).items():
        image.paste(box_color, box)
    return encoded(image)


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
