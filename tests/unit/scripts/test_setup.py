"""A layer is installed once, and again only when its requirements change."""

import sys
from pathlib import Path

import pytest

from scripts import setup


@pytest.fixture
def environment(tmp_path: Path) -> setup.Environment:
    folder = tmp_path / "venv"
    folder.mkdir()
    return setup.Environment(folder)


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("torch==1.0\n")
    return path


def test_a_layer_is_installed_once(environment: setup.Environment, requirements: Path) -> None:
    runs: list[str] = []
    for _ in range(3):
        environment.layer("runtime", [requirements], lambda: runs.append("run"))
    assert runs == ["run"]


def test_changed_requirements_are_installed(environment: setup.Environment, requirements: Path) -> None:
    runs: list[str] = []
    environment.layer("runtime", [requirements], lambda: runs.append("old"))
    requirements.write_text("torch==2.0\n")
    environment.layer("runtime", [requirements], lambda: runs.append("new"))
    assert runs == ["old", "new"]


def test_what_failed_half_way_is_tried_again(environment: setup.Environment, requirements: Path) -> None:
    def fail() -> None:
        raise SystemExit("no network")

    with pytest.raises(SystemExit):
        environment.layer("runtime", [requirements], fail)
    runs: list[str] = []
    environment.layer("runtime", [requirements], lambda: runs.append("run"))
    assert runs == ["run"]


def test_a_failed_command_shows_the_end_of_its_output(
    environment: setup.Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not environment.run("something", "/bin/sh", "-c", "echo no such package; exit 1")
    with pytest.raises(SystemExit, match="no such package"):
        environment.fail()
    assert capsys.readouterr().out.startswith("  something ... failed")


def test_an_environment_that_was_moved_is_made_anew(tmp_path: Path) -> None:
    old = setup.Environment(tmp_path / "old")
    old.create(sys.executable, "--without-pip")
    marker = old.folder / "marker"
    marker.touch()
    old.create(sys.executable, "--without-pip")
    assert marker.exists(), "one that works is left alone"
    moved = setup.Environment(old.folder.rename(tmp_path / "moved"))
    moved.create(sys.executable, "--without-pip")
    assert not (moved.folder / "marker").exists()
    assert str(moved.folder) in (moved.folder / "pyvenv.cfg").read_text()


def test_without_a_browser_setup_goes_on_and_says_what_is_skipped(
    environment: setup.Environment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "find_chromium", lambda: None)
    for commands in ((), (("/bin/sh", "-c", "exit 1"),)):
        monkeypatch.setattr(setup, "apt_commands", lambda commands=commands: commands)
        setup.install_chromium(environment)
        assert "tests will be skipped: they need Chromium" in capsys.readouterr().out
