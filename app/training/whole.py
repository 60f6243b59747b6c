"""Folders that are on disk whole or not at all, whenever the process or the machine stops.

Everything is written into a temporary folder beside the final one, forced to disk, listed in a manifest with its
checksums, and renamed.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.training.disk import force_all_to_disk, force_to_disk
from app.training.task import TrainingFailedError

MANIFEST = "manifest.json"
"""`{"files": {"relative/path": {"bytes": int, "sha256": hex}}}`; written last."""
PARTIAL = ".partial"
"""How the name of a temporary folder ends."""

_CHUNK_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = (
    "database or disk is full",
    "no space left on device",
    "disk quota exceeded",
    "pytorchstreamwriter failed writing",
    "unexpected pos ",
)
"""How safetensors and torch, which raise other classes than `OSError`, word a full disk."""


@contextmanager
def writing(folder: Path, n_bytes: int = 0) -> Iterator[Path]:
    """A temporary folder to write into, which becomes `folder` when the block ends, in place of one that was there.

    `n_bytes` is about what it will take. After an error the temporary folder is gone and `folder` as it was. Raises
    `TrainingFailedError` if the disk is full.
    """
    temporary = folder.with_name(f".{folder.name}{PARTIAL}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _seal(temporary)
        _replace(temporary, folder)
    except BaseException as error:
        # First: on a full disk nothing else can be written until it is gone.
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, Exception) and is_disk_full(error):
            raise TrainingFailedError(_disk_full_reason(folder.parent, n_bytes)) from error
        raise


def is_whole(folder: Path) -> bool:
    """True if there is every file that the manifest lists, with the length and checksum that it had."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all(_description(folder / name) == description for name, description in files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def remove_partial(parent: Path) -> None:
    """Delete temporary folders in `parent` that a process which was killed left behind."""
    for folder in parent.glob(f".*{PARTIAL}"):
        shutil.rmtree(folder, ignore_errors=True)


def is_disk_full(error: BaseException) -> bool:
    """True if this error, or one that caused it, is that of a full disk or quota."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        if any(text in str(cause).lower() for text in _FULL_TEXTS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _seal(folder: Path) -> None:
    """Write the manifest, and force it and everything that it lists to disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {path.relative_to(folder).as_posix(): _description(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps({"files": listed}, indent=1), encoding="utf-8")
    force_all_to_disk(folder)


def _replace(temporary: Path, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)
    force_to_disk(folder.parent)


def _description(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
        return {"bytes": stream.tell(), "sha256": digest.hexdigest()}


def _disk_full_reason(folder: Path, n_bytes: int) -> str:
    """What to say once the temporary folder is deleted, and its space is free again."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    missing = n_bytes - shutil.disk_usage(existing).free
    n_megabytes = max(1, -(-missing // 10**6))
    return f"The disk is full: free at least {n_megabytes} MB where the models are kept, then start or resume the job."
