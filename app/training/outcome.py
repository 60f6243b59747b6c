"""What a completed job says of its training: whether it did any good, and what to try where it did none."""

import math
from collections.abc import Mapping

from app.training.jobs import Job
from app.training.options import LEARNING_RATES

NAMES = {"ndcg@10": "nDCG@10", "recall@1": "recall@1"}
"""Figures by which a training is judged, the first that was measured before the others."""
SAME = 0.005
"""Smaller changes of a figure say nothing."""
SAME_LOSS = 1.05
"""Nor do smaller rises of a loss, as a factor."""
MOST_FOUND = 0.99
"""A base that finds this share has little to learn."""


def outcome(job: Job) -> str:
    """Of a job whose training has ended."""
    before, after = job.figures.get("before", {}), job.figures.get("after", {})
    measured = [name for name in NAMES if name in before and name in after]
    if not measured:
        return f"{_why_unmeasured(job)} {_by_training_loss(job)}".rstrip()
    change = after[measured[0]] - before[measured[0]]
    changes = ", ".join(f"{NAMES[name]} went from {before[name]:.2f} to {after[name]:.2f}" for name in measured)
    found = f"on {_pairs(after)}that were held out {changes}{_may_be_chance(change, after)}."
    if change > SAME:
        return f"It learned: {found}"
    if _is_collapsed(before, after):
        return f"The training has diverged, and hardly tells one from another any more: {found} {_calmer(job)}"
    if change < -SAME:
        return f"It finds worse than its base: {found} {_calmer(job)}"
    if _rose(before.get("loss"), after.get("loss")):
        loss = f"Their loss rose from {before['loss']:.3g} to {after['loss']:.3g}."
        return f"It finds no better than its base: {found} {loss} {_calmer(job)}"
    if before[measured[0]] >= MOST_FOUND:
        return f"Its base finds nearly all of them already: {found}"
    return f"It finds no better than its base: {found} {_bolder(job)}"


def _why_unmeasured(job: Job) -> str:
    if job.options.eval_fraction == 0:
        return "Nothing was measured, as eval_fraction was 0."
    return "Nothing was measured: there were too few pairs, or too closely linked ones, to hold some out."


def _by_training_loss(job: Job) -> str:
    if job.progress is None or job.first_loss is None:
        return ""
    loss = f"The loss in training went from {job.first_loss:.3g} to {job.progress.loss:.3g}"
    if _rose(job.first_loss, job.progress.loss):
        return f"{loss}, so it has diverged. {_calmer(job)}"
    return f"{loss}."


def _pairs(figures: Mapping[str, float]) -> str:
    n_pairs = int(figures.get("n_pairs", 0))
    return {0: "pairs ", 1: "1 pair "}.get(n_pairs, f"{n_pairs} pairs ")


def _may_be_chance(change: float, figures: Mapping[str, float]) -> str:
    """A share of n differs by chance by up to about the root of 1 / n."""
    n_pairs = figures.get("n_pairs", math.inf)
    return ", which may be chance with so few" if SAME < abs(change) < 1 / math.sqrt(n_pairs or 1) else ""


def _is_collapsed(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """True if the loss has risen to that of vectors which are all alike."""
    if "n_candidates" not in after or not _rose(before.get("loss"), after.get("loss")):
        return False
    return after["loss"] >= 0.95 * math.log(max(2.0, after["n_candidates"]))


def _rose(first: float | None, last: float | None) -> bool:
    return first is not None and last is not None and last > SAME_LOSS * first + SAME


def _calmer(job: Job) -> str:
    rate = _rate(job)
    return f"Try a lower learning_rate ({rate / 10:g}, say, rather than {rate:g}), fewer epochs, or more pairs."


def _bolder(job: Job) -> str:
    rate = _rate(job)
    return f"Try more epochs, a higher learning_rate ({3 * rate:g}, say, rather than {rate:g}), or more pairs."


def _rate(job: Job) -> float:
    return job.options.learning_rate or LEARNING_RATES[job.method]
