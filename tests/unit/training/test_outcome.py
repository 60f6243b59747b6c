"""What a completed job says: nobody should have to compare figures to see that a training did harm."""

import math
from dataclasses import replace
from typing import Any

import pytest

from app.training.jobs import Dataset, Job
from app.training.options import Method, TrainingOptions
from app.training.outcome import outcome
from app.training.task import Progress

N_CANDIDATES = 100


def figures(ndcg: float, recall: float, loss: float, n_pairs: int = 400) -> dict[str, float]:
    return {"loss": loss, "ndcg@10": ndcg, "recall@1": recall, "n_pairs": n_pairs, "n_candidates": N_CANDIDATES}


def job(before: dict[str, float] | None = None, after: dict[str, float] | None = None, **changes: Any) -> Job:
    plain = Job("1", "mine", "e5", "base", Method.FULL, TrainingOptions(), Dataset(3, 0, "00"))
    measured = {when: found for when, found in (("before", before), ("after", after)) if found}
    return replace(plain, figures=measured, **changes)


def progress(loss: float) -> Progress:
    return Progress(9, 9, 1.0, loss, 1e-4, 1.0, 0.0)


def test_the_gain_is_said() -> None:
    says = outcome(job(figures(0.11, 0.08, 3.0), figures(0.99, 0.98, 0.1)))
    assert says == (
        "It learned: on 400 pairs that were held out nDCG@10 went from 0.11 to 0.99, recall@1 went from 0.08 to 0.98."
    )


@pytest.mark.parametrize(
    ("before", "after", "says", "tries"),
    [
        ((0.8, 0.7, 1.0), (0.5, 0.4, 2.0), "finds worse than its base", "lower learning_rate (2e-06, say"),
        ((0.8, 0.7, 1.0), (0.1, 0.0, math.log(N_CANDIDATES)), "has diverged", "lower learning_rate"),
        ((0.8, 0.7, 1.0), (0.8, 0.7, 1.5), "Their loss rose from 1 to 1.5", "lower learning_rate"),
        ((0.5, 0.4, 1.0), (0.5, 0.4, 1.0), "finds no better than its base", "higher learning_rate (6e-05, say"),
        ((1.0, 1.0, 0.1), (1.0, 1.0, 0.1), "base finds nearly all of them already", ""),
        # A base that knows nothing has the loss of chance too.
        ((0.02, 0.0, math.log(N_CANDIDATES)), (0.3, 0.2, 4.5), "It learned", ""),
    ],
)
def test_it_says_what_happened_and_what_to_try(
    before: tuple[float, ...], after: tuple[float, ...], says: str, tries: str
) -> None:
    said = outcome(job(figures(*before), figures(*after)))
    assert says in said
    assert tries in said


def test_few_pairs_prove_little() -> None:
    few, many = (outcome(job(figures(0.5, 0.5, 1.0, n), figures(0.6, 0.6, 1.0, n))) for n in (12, 400))
    assert "may be chance" in few
    assert "may be chance" not in many
    sure = outcome(job(figures(0.1, 0.0, 1.0, 12), figures(1.0, 1.0, 0.1, 12)))
    assert "may be chance" not in sure


def test_without_figures_the_training_loss_tells() -> None:
    fell = outcome(job(first_loss=2.0, progress=progress(0.5)))
    rose = outcome(job(first_loss=0.5, progress=progress(3.5)))
    assert fell.startswith("Nothing was measured: there were too few pairs")
    assert fell.endswith("The loss in training went from 2 to 0.5.")
    assert "from 0.5 to 3.5, so it has diverged. Try a lower learning_rate" in rose
    asked_for = outcome(job(options=TrainingOptions(eval_fraction=0)))
    assert asked_for == "Nothing was measured, as eval_fraction was 0."


def test_what_was_measured_once_is_not_compared() -> None:
    assert outcome(job(after=figures(0.5, 0.5, 1.0))).startswith("Nothing was measured")
