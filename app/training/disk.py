"""Files that are on the disk when the call returns, also if the power fails right after."""

import os
from pathlib import Path


def write_durably(file: Path, content: bytes) -> None:
    """Write the file and force it, and its name, to the disk."""
    file.write_bytes(content)
    force_to_disk(file)
    force_to_disk(file.parent)


def force_all_to_disk(folder: Path) -> None:
    """Force a folder and everything in it to the disk."""
    for path in (*folder.rglob("*"), folder):
        force_to_disk(path)


def force_to_disk(path: Path) -> None:
    """Force a file's content, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
