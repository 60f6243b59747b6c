"""The split, the ranking, the reports and the times of checkpoints."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from app.training.pairs_split import TextPair, columns, split
from app.training.qlora import qlora_problem
from app.training.ranking import RankingTask, figures, measure, ranking_loss, ranking_task
from app.training.resumable import ReportProgress, SaveByTime, require_finite
from app.training.task import TrainingFailedError
from tests.unit.training.code_words import Recorder


def numbered(n: int) -> list[TextPair]:
    return [TextPair(f"query {index}", f"passage {index}") for index in range(n)]


def test_split_holds_out_a_share_that_the_seed_draws() -> None:
    pairs = numbered(100)
    first, again, other = split(pairs, 0.1, 1), split(pairs, 0.1, 1), split(pairs, 0.1, 2)
    assert len(first.held_out) == 10
    assert len(first.train) == 90
    assert first == again != other
    assert sorted((*first.train, *first.held_out), key=pairs.index) == pairs


@pytest.mark.parametrize("seed", range(5))
def test_held_out_pairs_share_nothing_with_the_others(seed: int) -> None:
    pairs = [TextPair(f"query {index % 40}", f"passage {index % 30}") for index in range(50)]
    found = split(pairs, 0.3, seed)
    assert found.held_out
    assert not {pair.query for pair in found.held_out} & {pair.query for pair in found.train}
    assert not {pair.positive for pair in found.held_out} & {pair.positive for pair in found.train}


def test_nothing_is_held_out_of_few_or_linked_pairs() -> None:
    assert not split(numbered(9), 0.5, 0).held_out
    assert not split([TextPair(f"query {index}", "passage") for index in range(50)], 0.1, 0).held_out
    assert not split(numbered(100), 0.0, 0).held_out
    assert len(split(numbered(30000), 0.5, 0).held_out) == 1000


def test_columns_have_negatives_if_there_are_any() -> None:
    assert list(columns(numbered(2))) == ["query", "positive"]
    assert columns([TextPair("a", "b", "c")]) == {"query": ["a"], "positive": ["b"], "negative": ["c"]}


def test_ranking_task_has_distractors_once() -> None:
    found = ranking_task(split([*numbered(600), TextPair("query 3", "passage of its own")], 0.1, 0))
    assert len(found.candidates) == len(set(found.candidates)) == found.n_pairs + 300
    assert len(found.queries) == len(found.relevant) == len(set(found.queries))


def test_figures_by_hand() -> None:
    """The first query finds its passage first, the second at the second place, the third one of two."""
    task = RankingTask(("a", "b", "c"), ("x", "y", "z"), (frozenset({0}), frozenset({1}), frozenset({0, 2})), 4)
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.5, 0.1], [0.1, 0.2, 0.3]], dtype=np.float32)
    found = figures(scores, task)
    discount = 1 / np.log2(3)
    third = (1 + 1 / np.log2(4)) / (1 + discount)
    assert found["recall@1"] == pytest.approx(2 / 3)
    assert found["ndcg@10"] == pytest.approx((1 + discount + third) / 3)
    assert found["n_pairs"] == 4
    assert found["n_candidates"] == 3


def test_ranking_loss_by_hand() -> None:
    scores = np.array([[0.5, 0.4, 0.3]], dtype=np.float32)
    expected = [-np.log(np.exp(10) / (np.exp(10) + np.exp(8))), -np.log(np.exp(6) / (np.exp(6) + np.exp(8)))]
    assert ranking_loss(scores, [frozenset({0, 2})]) == pytest.approx(np.mean(expected), abs=1e-5)


def test_vectors_that_are_none_are_not_measured() -> None:
    task = RankingTask(("a",), ("x",), (frozenset({0}),), 1)
    with pytest.raises(TrainingFailedError, match="learning_rate"):
        measure(task, lambda texts: np.full((1, 2), np.nan, np.float32), lambda texts: np.ones((1, 2), np.float32))


def test_progress_is_reported_four_times_a_second_and_at_the_end() -> None:
    clock, reported = [0.0], Recorder()
    report = ReportProgress(reported, clock=lambda: clock[0])
    arguments = SimpleNamespace(train_batch_size=8, gradient_accumulation_steps=1)
    scheduler = SimpleNamespace(get_last_lr=lambda: [1e-4])
    report.on_train_begin(None, SimpleNamespace(global_step=100), None)
    for step in range(101, 111):
        clock[0] += 0.1
        report.add_loss(float(step))
        report.on_optimizer_step(None, None, None, lr_scheduler=scheduler)
        report.on_step_end(arguments, SimpleNamespace(global_step=step, max_steps=110, epoch=1.5), None)
    messages = reported.of("progress")
    assert [message["step"] for message in messages] == [103, 106, 109, 110]
    assert [message["loss"] for message in messages] == [102, 105, 108, 110]
    assert messages[0]["examples_per_second"] == pytest.approx(80)
    assert messages[0]["seconds_left"] == pytest.approx(0.7)
    assert messages[0]["learning_rate"] == 1e-4


def test_checkpoints_come_by_time_and_at_the_ends_of_epochs() -> None:
    clock = [0.0]
    saving = SaveByTime(30.0, clock=lambda: clock[0])
    state = SimpleNamespace(global_step=1, max_steps=9)

    def asked(at: float, *, epoch_end: bool = False, step: int = 1) -> bool:
        clock[0], state.global_step = at, step
        control = SimpleNamespace(should_save=False)
        (saving.on_epoch_end if epoch_end else saving.on_step_end)(None, state, control)
        return control.should_save

    saving.on_train_begin(None, state, None)
    assert not asked(29)
    assert asked(29, epoch_end=True)
    assert asked(30)
    saving.saved(seconds=6.0)
    assert not asked(89)
    assert not asked(89, epoch_end=True)
    assert asked(89, epoch_end=True, step=9)
    assert asked(90)


def test_numbers_that_are_none_stop_the_training() -> None:
    require_finite([torch.ones(3), torch.zeros(())])
    require_finite([])
    for bad in (float("nan"), float("inf")):
        with pytest.raises(TrainingFailedError, match="learning_rate"):
            require_finite([torch.ones(3), torch.tensor([0.0, bad])])


def test_qlora_says_why_it_does_not_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NVIDIA" in str(qlora_problem("cpu"))
    assert "use_qlora: false" in str(qlora_problem("mps"))
    monkeypatch.setattr("app.training.qlora.find_spec", lambda name: None)
    assert "bitsandbytes" in str(qlora_problem("cuda:0"))
