"""What the server and the processes that draw say to each other: a line of JSON, then so many bytes as it announces.

Never pickles: a hostile PDF may have taken over the process that answers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

N_BYTES = "n_bytes"
"""Key of a line that says how many bytes follow it; without it none do."""
FAULT = "fault"
"""Key of an answer that is none, with a `Fault`."""


class Fault(StrEnum):
    """Why a PDF or a page of it cannot be drawn."""

    ENCRYPTED = "encrypted"
    BROKEN = "broken"
    """The whole file."""
    PAGE = "page"
    """This page alone."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely a page is drawn."""

    dpi: float
    max_pixels: int
    """The page gets fewer dots an inch if it would have more pixels."""
    max_side: int | None = None
    """The same for its longer side, in pixels."""


@dataclass(frozen=True, slots=True)
class PageImage:
    """A drawn page."""

    width: int
    """Pixels."""
    height: int
    png: bytes


def message(content: Mapping[str, Any], data: bytes = b"") -> bytes:
    """The line that comes before `data`."""
    announced = {N_BYTES: len(data)} if data else {}
    return json.dumps({**content, **announced}).encode() + b"\n"
