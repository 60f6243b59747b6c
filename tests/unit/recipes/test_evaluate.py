"""A checkpoint is served and measured as `make eval` does it."""

from pathlib import Path

import pytest

from app.starter.text import build_bge_m3
from recipes.evaluate import evaluate_checkpoint
from recipes.serving import Entry, serving
from tests.evaluation_sets import write_sets


@pytest.mark.e2e
def test_a_checkpoint_is_measured_beside_an_untrained_one(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    build_bge_m3(folder)
    (tmp_path / "sets").mkdir()
    rows = evaluate_checkpoint(folder, "bge-m3", sets=write_sets(tmp_path / "sets"))
    measured = [(row["model"], row["vectors"]) for row in rows]
    kinds = ["dense", "sparse", "ColBERT", "all"]
    assert measured[:8] == [(model, kind) for model in ("mine", "bge-m3-untrained") for kind in kinds]
    assert [model for model, _ in measured[8:]] == ["TF-IDF", "chance"]
    # The same weights: the untrained checkpoint is what was built here.
    assert [row["en"] for row in rows[:4]] == [row["en"] for row in rows[4:8]]


@pytest.mark.e2e
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="family is one of"), serving([Entry("a", "fish", tmp_path)]):
        pass
