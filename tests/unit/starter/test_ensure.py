"""Untrained checkpoints: built once, whole or not at all, the same everywhere."""

import hashlib
import tomllib
from pathlib import Path

import pytest

from app import starter
from app.families.catalog import CATALOG
from app.settings import REPO


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "models"
    assert starter.ensure(folder) == list(CATALOG)
    return folder


def test_the_same_bytes_every_time(models_dir: Path, tmp_path: Path) -> None:
    starter.ensure(tmp_path)
    assert digests(tmp_path) == digests(models_dir)


def test_every_checkpoint_that_tests_serve_is_built(models_dir: Path) -> None:
    models = tomllib.loads((REPO / "tests/untrained.toml").read_text(encoding="utf-8"))["model"]
    assert {model["family"]: model["checkpoint"] for model in models} == {
        family: f"{starter.UNTRAINED}/{family}" for family in starter.BUILDERS
    }
    for model in models:
        assert (models_dir / model["checkpoint"] / "config.json").is_file()


def test_they_are_small_and_say_what_they_are(models_dir: Path) -> None:
    for folder in (models_dir / starter.UNTRAINED).iterdir():
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 4_000_000
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "untrained" in card
        assert "mean nothing" in card


def test_only_what_is_missing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starter, "BUILDERS", dict.fromkeys(("one", "two", "three"), f"{__name__}:write_note"))
    monkeypatch.setattr(starter, "import_module", lambda _: NOTES)
    (tmp_path / "untrained/two").mkdir(parents=True)
    assert starter.ensure(tmp_path) == ["one", "three"]
    assert (tmp_path / "untrained/one/note").read_text() == "built"
    assert not (tmp_path / "untrained/two/note").exists()
    assert starter.ensure(tmp_path) == []


def test_an_interrupted_build_leaves_nothing_and_is_done_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starter, "import_module", lambda _: NOTES)
    monkeypatch.setattr(starter, "BUILDERS", {"one": "notes:write_half"})
    with pytest.raises(KeyboardInterrupt):
        starter.ensure(tmp_path)
    assert list((tmp_path / "untrained").iterdir()) == []
    monkeypatch.setattr(starter, "BUILDERS", {"one": "notes:write_note"})
    assert starter.ensure(tmp_path) == ["one"]


def test_two_builders_at_once_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The slower one finds the folder there when it wants to put its own in place."""
    final = tmp_path / "untrained/one"

    def be_overtaken(folder: Path) -> None:
        (folder / "note").write_text("slower")
        final.mkdir()
        (final / "note").write_text("faster")

    monkeypatch.setattr(starter, "_builder", lambda _: be_overtaken)
    monkeypatch.setattr(starter, "BUILDERS", {"one": ""})
    starter.ensure(tmp_path)
    assert (final / "note").read_text() == "faster"
    assert list(final.parent.iterdir()) == [final]


class NOTES:
    """A module of builders."""

    @staticmethod
    def write_note(folder: Path) -> None:
        (folder / "note").write_text("built")

    @staticmethod
    def write_half(folder: Path) -> None:
        (folder / "note").write_text("bui")
        raise KeyboardInterrupt
