"""The evaluation asks a server whose models are fakes: what they find can be told beforehand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.core.errors import ModelLoadError
from app.evaluation.client import ServerClient
from app.evaluation.errors import EvaluationError
from app.evaluation.evaluate import evaluate
from app.evaluation.report import Table
from app.main import create_app
from app.settings import Settings
from tests.evaluation_sets import write_sets
from tests.fakes import FakeLoader


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def client() -> Iterator[ServerClient]:
    with TestClient(create_app(Settings.model_construct(training=False), loader=FakeLoader())) as http:
        yield ServerClient(http)


def rows(table: Table, **cells: Any) -> list[Any]:
    """The rows that have these cells."""
    return [row for row in table.rows if cells.items() <= row.items()]


def test_dense_texts(client: ServerClient, sets: Path) -> None:
    (table,) = evaluate(client, ["multilingual-e5-large"], folder=sets)
    (dense,) = rows(table, model="multilingual-e5-large")
    # The third query asks in German for what it does not name: its document is second or third.
    assert dense["vectors"] == "dense"
    assert dense["en"] == 1
    assert dense["de"] in (pytest.approx(0.6309, abs=1e-4), pytest.approx(0.5))


def test_hybrid_texts(client: ServerClient, sets: Path) -> None:
    (table,) = evaluate(client, ["bge-m3"], folder=sets)
    kinds = {row["vectors"]: row["en"] for row in rows(table, model="bge-m3")}
    assert kinds == {"dense": 1, "sparse": 1, "ColBERT": 1, "all": 1}
    assert rows(table, model="TF-IDF")[0]["en"] == 1
    # Of three documents in any order: (1 + 0.6309 + 0.5) / 3.
    assert rows(table, model="chance")[0]["en"] == pytest.approx(0.7103, abs=1e-4)


def test_pages(client: ServerClient, sets: Path) -> None:
    (table,) = evaluate(client, ["colpali-v1.3"], folder=sets)
    found = {row["queries"]: row for row in rows(table, model="colpali-v1.3")}
    assert list(found) == ["all", "words", "shapes", "unseen"]
    assert [row["recall@1"] for row in found.values()] == [1, 1, 1, 0]
    # The map of `red` is highest on the red box; the box of `blue` is told wrongly.
    assert [found[kind].get("pointing") for kind in ("all", "words", "shapes", "unseen")] == [0.5, 1, 0, None]
    # The box covers 2 x 1 patches of 10 x 8, with its neighbours 4 x 3.
    assert found["words"]["by chance"] == pytest.approx(12 / 80)
    assert rows(table, model="chance", queries="all")[0]["recall@1"] == pytest.approx(1 / 3)


def test_pictures(client: ServerClient, sets: Path) -> None:
    (table,) = evaluate(client, ["dinov3-vitb16"], folder=sets)
    (row,) = rows(table, model="dinov3-vitb16")
    assert row["crop"] == 1
    assert row["color"] == pytest.approx(1 / 3)
    assert row["recall@1"] == pytest.approx(2 / 3)
    assert row["objects"] == row["balanced"] == row["digits"] == 1
    (chance,) = rows(table, model="chance")
    assert chance["objects"] == 0.75
    assert chance["digits"] == 0.5
    assert rows(table, model="pixels")[0]["digits"] == 1


def test_models_share_the_table_of_a_set(client: ServerClient, sets: Path) -> None:
    tables = evaluate(client, ["bge-m3", "dinov3-vitb16", "multilingual-e5-large"], folder=sets)
    assert [table.title for table in tables] == ["Texts", "Pictures"]
    assert len(rows(tables[0], model="chance")) == 1
    assert len(rows(tables[0], vectors="dense")) == 2


def test_an_unknown_model(client: ServerClient, sets: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no model nothing.*bge-m3"):
        evaluate(client, ["nothing"], folder=sets)


def test_a_set_that_does_not_suit_the_model(client: ServerClient, sets: Path) -> None:
    with pytest.raises(EvaluationError, match=r"pages suits bge-m3.*Sets for it: texts"):
        evaluate(client, ["bge-m3"], ["pages"], folder=sets)


def test_a_missing_and_a_broken_set(client: ServerClient, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"man_pages.json.gz is missing"):
        evaluate(client, ["bge-m3"], folder=tmp_path)
    (tmp_path / "man_pages.json.gz").write_bytes(b"no gzip")
    with pytest.raises(EvaluationError, match="broken"):
        evaluate(client, ["bge-m3"], folder=tmp_path)


def test_a_set_of_another_form(client: ServerClient, tmp_path: Path) -> None:
    write_sets(tmp_path)
    (tmp_path / "pages/queries.json").write_text(json.dumps({"queries": [{"text": "red"}]}))
    with pytest.raises(EvaluationError, match=r"queries.json has not the form"):
        evaluate(client, ["colpali-v1.3"], folder=tmp_path)


def test_a_server_that_wants_a_key() -> None:
    settings = Settings.model_construct(api_key=SecretStr("secret"))
    with TestClient(create_app(settings, loader=FakeLoader())) as http:
        with pytest.raises(EvaluationError, match="--api-key"):
            ServerClient(http).models()
        http.headers["Authorization"] = "Bearer secret"
        assert ServerClient(http).models()


def test_a_model_that_cannot_be_loaded(sets: Path) -> None:
    loader = FakeLoader(broken=ModelLoadError("The checkpoint is not there."))
    with (
        TestClient(create_app(Settings.model_construct(training=False), loader=loader)) as http,
        pytest.raises(EvaluationError, match="The checkpoint is not there"),
    ):
        evaluate(ServerClient(http), ["bge-m3"], folder=sets)
