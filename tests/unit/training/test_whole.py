"""Folders that are whole or not there."""

import errno
import json
from pathlib import Path

import pytest

from app.training.task import TrainingFailedError
from app.training.whole import MANIFEST, PARTIAL, is_disk_full, is_whole, remove_partial, writing


def write(folder: Path, content: bytes = b"weights") -> None:
    with writing(folder) as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "file").write_bytes(content)


def write_half(folder: Path) -> None:
    with writing(folder) as temporary:
        (temporary / "file").write_bytes(b"half")
        (temporary / "file" / "other").write_bytes(b"")


def test_folder_appears_with_a_manifest_that_it_fits(tmp_path: Path) -> None:
    write(tmp_path / "result")
    assert is_whole(tmp_path / "result")
    listed = json.loads((tmp_path / "result" / MANIFEST).read_text())["files"]
    assert list(listed) == ["part/file"]
    assert listed["part/file"]["bytes"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_replaces_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "result", b"old")
    write(tmp_path / "result", b"new")
    assert (tmp_path / "result" / "part" / "file").read_bytes() == b"new"


@pytest.mark.parametrize("content", [b"weight", b"weighty", b""])
def test_changed_file_is_noticed(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "result")
    (tmp_path / "result" / "part" / "file").write_bytes(content)
    assert not is_whole(tmp_path / "result")


def test_missing_parts_are_noticed(tmp_path: Path) -> None:
    assert not is_whole(tmp_path / "result")
    write(tmp_path / "result")
    (tmp_path / "result" / "part" / "file").unlink()
    assert not is_whole(tmp_path / "result")
    write(tmp_path / "result")
    (tmp_path / "result" / MANIFEST).write_text('{"files": ["part/file"]}')
    assert not is_whole(tmp_path / "result")


def test_failure_leaves_nothing_and_the_old_one_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "result", b"old")
    with pytest.raises(NotADirectoryError):
        write_half(tmp_path / "result")
    assert is_whole(tmp_path / "result")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_full_disk_is_freed_first_and_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match=r"free at least \d+ MB"), writing(tmp_path / "result", 10**18):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_full_disk_is_known_by_other_libraries_errors() -> None:
    """As safetensors and torch worded it on a full tmpfs, and torch when a file inside the archive failed."""
    assert is_disk_full(ValueError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert is_disk_full(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"))
    assert is_disk_full(RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"))
    assert not is_disk_full(RuntimeError("shapes cannot be multiplied"))
    assert not is_disk_full(FileNotFoundError(errno.ENOENT, "No such file"))


def test_what_a_kill_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".result{PARTIAL}").mkdir()
    write(tmp_path / "checkpoint-3")
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
