"""`python -m app eval` against a real server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import REPO, Server
from tests.evaluation_sets import write_sets

pytestmark = pytest.mark.e2e


def run_eval(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app", "eval", *arguments]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_it_prints_a_table_for_each_set_and_writes_json(server: Server, tmp_path: Path) -> None:
    models = [model["id"] for model in server.client().get("/v1/models").json()["data"]]
    figures = tmp_path / "figures.json"
    sets = str(write_sets(tmp_path))
    done = run_eval("--model", *models, "--url", server.url, "--data", sets, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tables = json.loads(figures.read_text())["tables"]
    assert [table["title"] for table in tables] == ["Texts", "Pages", "Pictures"]
    for table in tables:
        assert f"### {table['title']}" in done.stdout
    measured = {row["model"] for table in tables for row in table["rows"]}
    assert measured == {*models, "TF-IDF", "pixels", "chance"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "The server has no model nothing. It serves: "),
        (["--model", "nothing", "--sets", "fish"], "There is no set fish. The sets are: texts, pages, pictures."),
    ],
)
def test_errors_are_one_line(server: Server, arguments: list[str], message: str) -> None:
    done = run_eval(*arguments, "--url", server.url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"manyvec: {message}")
    assert done.stderr.count("\n") == 1


def test_no_server() -> None:
    done = run_eval("--model", "any", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "No server answers at http://127.0.0.1:1." in done.stderr
