"""Reads the small JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from app.core.errors import ModelLoadError


def read_json(path: Path) -> Any:
    """The file's content. Raises `ModelLoadError` if it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"The checkpoint's {path.name} is missing or broken.") from error
