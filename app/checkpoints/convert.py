"""The command `models convert`."""

from pathlib import Path

from app.checkpoints.download import download
from app.checkpoints.hub import Hub
from app.checkpoints.local import display_name, find
from app.checkpoints.pickles import convert_pickles
from app.core.errors import ModelLoadError


def convert(checkpoint: str, models_dir: Path, hub: Hub | None = None) -> list[str]:
    """Give a checkpoint safetensors in place of pickled weights; returns the names of the safetensors written.

    A folder under `models_dir` is converted in place, and its pickles stay: they may be deleted afterwards. Without
    such a folder it is downloaded from the hub and converted into one. Nothing is done twice. Raises `ModelLoadError`.
    """
    folder = find(checkpoint, models_dir)
    if folder is not None:
        return [file.name for file in convert_pickles(folder, folder)]
    if hub is None:
        raise ModelLoadError(f"There is no checkpoint {display_name(checkpoint)} in the models folder.")
    folder = download(checkpoint, None, models_dir, hub)
    return sorted(file.name for file in folder.glob("*.safetensors"))
