"""Files that are on the disk when the call returns, also if the power fails right after."""

import os
from pathlib import Path


def write_durably(file: Path, content: bytes) -> None:
    """Write the file and force it, and its name, to the disk."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk. Windows opens no folders, and needs none of it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
