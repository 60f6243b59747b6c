"""README.md's examples, run as written but for the server's address.

A block after `<!-- run -->` is run by bash; a JSON block right after it is the answer, where `...` stands for more of
the same.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.engine.config import ModelConfig, read_models_file
from tests.e2e.conftest import REPO, Server, running_server

ADDRESS = "http://127.0.0.1:8000"
BLOCK = re.compile(
    r"<!-- run -->\n```bash\n(?P<commands>.*?)```\n(?:\n```(?P<kind>json|text)\n(?P<answer>.*?)```\n)?", re.DOTALL
)
CURL = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
README = (REPO / "README.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not shutil.which("curl"), reason="the examples call curl")]


@dataclass(frozen=True)
class Example:
    """A block of commands and the answer that README.md shows, if any."""

    commands: str
    kind: str | None
    """Of the answer: `json`, or `text` that was printed last."""
    answer: str | None

    def __str__(self) -> str:
        return " ".join(re.findall(rf"{ADDRESS}(/[\w/.$-]*)", self.commands))


EXAMPLES = [Example(**match.groupdict()) for match in BLOCK.finditer(README)]


@pytest.fixture(scope="module")
def starter_server(tmp_path_factory: pytest.TempPathFactory, starter_models: Path) -> Iterator[Server]:
    """What `make run` serves."""
    settings = {"MODELS_FILE": str(REPO / "starter.toml"), "MODELS_DIR": str(starter_models), "TRAINING": "true"}
    with running_server(tmp_path_factory.mktemp("server"), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples find their images, and the files of those before them."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(REPO / "examples")
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_runs_and_answers_as_shown(example: Example, starter_server: Server, folder: Path) -> None:
    commands = example.commands.replace(ADDRESS, starter_server.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", CURL + commands], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if example.kind == "text":
        # The passage that is found first; numbers and what follows it vary a little with the processor.
        assert example.answer is not None
        assert done.stdout.split("  ", 1)[1].splitlines()[0] == example.answer.split("  ", 1)[1].splitlines()[0]
    elif example.answer is not None:
        shown = json.loads(re.sub(r'(?<!")\.\.\.', '"..."', example.answer))
        assert_alike(shown, json.loads(done.stdout))
    for name in re.findall(r"(?:-o|--output) (\S+)", commands):
        assert (folder / name).stat().st_size > 0


def assert_alike(shown: Any, real: Any) -> None:
    """`shown` is `real`, shortened and rounded; numbers may also differ a little from one processor to the next."""
    if isinstance(shown, dict):
        keys = [key for key in shown if key != "..."]
        assert keys == list(real)[: len(keys)]
        assert (len(keys) < len(real)) == ("..." in shown)
        for key in keys:
            assert_alike(shown[key], real[key])
    elif isinstance(shown, list):
        items = [item for item in shown if item != "..."]
        assert (len(items) < len(real)) == ("..." in shown)
        for item, real_item in zip(items, real, strict=False):
            assert_alike(item, real_item)
    elif isinstance(shown, float):
        assert shown == pytest.approx(real, rel=5e-3, abs=2e-3)
    else:
        assert shown in ("...", real)


def test_every_route_has_an_example() -> None:
    paths = json.loads((REPO / "openapi.json").read_text(encoding="utf-8"))["paths"]
    called = " ".join(f"{example} " for example in EXAMPLES)
    missing = [path for path in paths if not re.search(rf"{re.sub('{.*?}', '[^ /]+', path)} ", called)]
    assert missing == []


@pytest.mark.parametrize("model", read_models_file(REPO / "models.toml"), ids=lambda model: model.name)
def test_the_licence_of_every_real_model_is_told(model: ModelConfig) -> None:
    (row,) = re.findall(rf"^\| `{model.name}` .*$", README, re.MULTILINE)
    assert row.endswith(f"(https://huggingface.co/{model.checkpoint}) | {model.license} |")


@pytest.mark.parametrize("target", re.findall(r"`make ([a-z-]+)", README))
def test_every_make_target_in_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPO / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:|#)([^)#]+)\)", README))))
def test_every_link_leads_to_a_file(path: str) -> None:
    assert (REPO / path).exists()
