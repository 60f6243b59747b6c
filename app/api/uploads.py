"""Uploaded files to inputs."""

import re
from collections.abc import Sequence

from fastapi import UploadFile

from app.core.types import NO_LIMITS, ImageInput, ImageLimits

SAFE_FILENAME = re.compile(r"[\w.\- ]{1,80}")
"""Filenames that error messages may repeat."""


async def read_images(files: Sequence[UploadFile], limits: ImageLimits = NO_LIMITS) -> list[ImageInput]:
    """The files as images that error messages name by place and, where it is harmless, by filename."""
    return [
        ImageInput(await file.read(), _label(number, file.filename), limits=limits)
        for number, file in enumerate(files, 1)
    ]


def _label(number: int, filename: str | None) -> str:
    harmless = filename and SAFE_FILENAME.fullmatch(filename)
    return f"File {number} ({filename})" if harmless else f"File {number}"
