"""Checkpoints that lie on this machine: `MODELS_DIR/<name>/`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import ModelLoadError

CONFIG_FILES = ("config.json", "adapter_config.json")
"""One of them makes a folder a checkpoint."""

LISTED_DEPTH = 3
"""Folders below MODELS_DIR that are looked into: `org/name/`, `starter/org/name/`."""


@dataclass(frozen=True, slots=True)
class LocalCheckpoint:
    """A checkpoint that was found under the models folder."""

    name: str
    """Its folder relative to the models folder: what a models file calls it."""
    path: Path
    n_bytes: int
    """Of all its files."""
    is_adapter: bool


def find(checkpoint: str, models_dir: Path) -> Path | None:
    """The folder `models_dir/<checkpoint>`, else `models_dir/<last part of it>`, else None.

    An absolute path is taken as it is: it can only come from whoever runs the server. Folders without
    files do not count.
    Raises `ModelLoadError` if the name or a symbolic link leads out of the models folder.
    """
    path = Path(checkpoint)
    if path.is_absolute():
        return path if _has_files(path) else None
    candidates = (models_dir / path, models_dir / path.name)
    return next((inside(folder, models_dir) for folder in candidates if _has_files(folder)), None)


def sibling(folder: Path, name: str) -> Path | None:
    """The folder beside `folder` that is called as the last part of `name`, if there is another one."""
    other = folder.parent / Path(name).name
    return inside(other, folder.parent) if _has_files(other) and other != folder else None


def inside(folder: Path, root: Path) -> Path:
    """`folder` without symbolic links. Raises `ModelLoadError` unless it lies below `root`."""
    resolved, root = folder.resolve(), root.resolve()
    if resolved == root or not resolved.is_relative_to(root):
        raise ModelLoadError(
            f"The checkpoint {display_name(str(folder))} leads out of the models folder. Move its files into the "
            "models folder, or write its absolute path into the models file."
        )
    return resolved


def list_checkpoints(models_dir: Path) -> list[LocalCheckpoint]:
    """All checkpoints under the models folder, by name; hidden folders are left out."""
    return [_describe(folder, models_dir) for folder in sorted(_checkpoint_folders(models_dir, LISTED_DEPTH))]


def display_name(checkpoint: str) -> str:
    """How messages name a checkpoint: a client must not learn where on the disk it lies."""
    return Path(checkpoint).name if Path(checkpoint).is_absolute() else checkpoint


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(file.is_file() and not file.name.startswith(".") for file in folder.iterdir())


def _checkpoint_folders(folder: Path, depth: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.name.startswith(".") or not child.is_dir():
            continue
        if any((child / name).is_file() for name in CONFIG_FILES):
            yield child
        elif depth > 1:
            yield from _checkpoint_folders(child, depth - 1)


def _describe(folder: Path, models_dir: Path) -> LocalCheckpoint:
    return LocalCheckpoint(
        name=folder.relative_to(models_dir).as_posix(),
        path=folder,
        n_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        is_adapter=(folder / "adapter_config.json").is_file(),
    )
