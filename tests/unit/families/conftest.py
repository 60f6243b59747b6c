"""Small checkpoints of the text and image families, and copies of them to break."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.starter.image import build_dinov3
from app.starter.text import build_bge_m3, build_e5

BUILDERS = {"e5": build_e5, "bge-m3": build_bge_m3, "dinov3": build_dinov3}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder by family. Tests that write take a copy."""
    folders = {}
    for family, build in BUILDERS.items():
        folders[family] = tmp_path_factory.mktemp("checkpoint") / family
        folders[family].mkdir()
        build(folders[family])
    return folders


@pytest.fixture
def copy_of(checkpoints: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(family: str) -> Path:
        return Path(shutil.copytree(checkpoints[family], tmp_path / family))

    return copy
