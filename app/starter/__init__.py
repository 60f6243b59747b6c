"""Small checkpoints with random weights, built from fixed seeds: for tests, and to hold trained ones against."""

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

UNTRAINED = "untrained"
"""Folder of the built checkpoints under the models folder; `tests/untrained.toml` names them `untrained/<family>`."""

BUILDERS = {
    "colqwen2.5": "app.starter.visual:build_colqwen2_5",
    "colqwen2": "app.starter.visual:build_colqwen2",
    "colpali": "app.starter.visual:build_colpali",
    "e5": "app.starter.text:build_e5",
    "bge-m3": "app.starter.text:build_bge_m3",
    "dinov3": "app.starter.image:build_dinov3",
}
"""Family -> `module:function` that writes a checkpoint into an empty folder; imported when it is needed."""


def ensure(models_dir: Path) -> list[str]:
    """Build the checkpoints that `models_dir` does not have yet; returns their families.

    A folder appears only once it is whole, so a build that was interrupted is done again.
    """
    parent = models_dir / UNTRAINED
    missing = [family for family in BUILDERS if not (parent / family).exists()]
    if not missing:
        return []
    parent.mkdir(parents=True, exist_ok=True)
    _silence_progress_bars()
    for family in missing:
        _build(family, parent)
    return missing


def _build(family: str, parent: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".building-", dir=parent) as scratch:
        folder = Path(scratch) / family
        folder.mkdir()
        _builder(family)(folder)
        try:
            folder.rename(parent / family)
        except OSError:
            # Another process was faster and has written the same bytes.
            if not (parent / family).is_dir():
                raise


def _builder(family: str) -> Callable[[Path], None]:
    module, _, name = BUILDERS[family].partition(":")
    function: Callable[[Path], None] = getattr(import_module(module), name)
    return function


def _silence_progress_bars() -> None:
    """One bar a file of a megabyte would be all that a new user sees."""
    from transformers.utils import logging

    logging.disable_progress_bar()
