"""From the hub to a folder that the server can load."""

import logging
import shutil
from pathlib import Path

from filelock import FileLock

from app.checkpoints import disk
from app.checkpoints.hub import Hub
from app.checkpoints.local import inside
from app.checkpoints.pickles import PICKLE_PATTERNS, convert_pickles, pending
from app.core.errors import ModelLoadError

log = logging.getLogger(__name__)

SAFE_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "LICENSE*")
"""Configuration, tokenizer, processor and weights; no code and no pickles."""
HEADS = ("sparse_linear.pt", "colbert_linear.pt")
"""BGE-M3's, which may be pickles beside a model in safetensors."""
IGNORED = ("*/*.safetensors", "*/*.bin", "*/*.pt", "onnx/*", "openvino/*")
"""Copies of the weights for other programs, and checkpoints of its training."""


def download(repo: str, revision: str | None, models_dir: Path, hub: Hub) -> Path:
    """Folder of the hub's checkpoint, downloaded if need be. Raises `ModelLoadError`.

    Pickles are fetched only if the repository has no safetensors. They are then converted into `models_dir/<repo>/`,
    where the checkpoint is found from then on; the hub's cache stays as it is.
    """
    folder = hub.download(repo, revision, (*SAFE_PATTERNS, *HEADS), IGNORED)
    if not any(folder.glob("*.safetensors")):
        folder = hub.download(repo, revision, (*SAFE_PATTERNS, *PICKLE_PATTERNS), IGNORED)
    if not pending(folder):
        return folder
    try:
        return _converted_copy(folder, models_dir / repo, models_dir)
    except OSError as error:
        raise ModelLoadError(_advice(error, repo)) from error


def _converted_copy(source: Path, target: Path, models_dir: Path) -> Path:
    """Copy the checkpoint to `target`, safetensors in place of its pickles; all of it appears at once."""
    inside(target, models_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    # Another process may want the same checkpoint; what one left behind by being killed is thrown away.
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_dir() and any(target.iterdir()):
            return target
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _copy_without_pickles(source, partial)
            convert_pickles(source, partial)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    log.info("%s was converted to safetensors and is kept in the models folder", target.name)
    return target


def _copy_without_pickles(source: Path, target: Path) -> None:
    def pickles(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name.endswith((".bin", ".pt", ".bin.index.json"))]

    shutil.copytree(source, target, ignore=pickles)
    for file in target.rglob("*"):
        if file.is_file():
            disk.sync(file)


def _advice(error: OSError, repo: str) -> str:
    if disk.is_full(error):
        return f"The disk is full: {repo} could not be converted to safetensors. Free space in the models folder."
    return (
        f"{repo} has pickled weights only, and its conversion cannot be written into the models folder. Make the "
        "models folder writable for the server, or put a converted copy there."
    )
