"""The batcher: what it puts together, whom it drops, and that nobody starves."""

import threading
from collections.abc import Sequence

import pytest

from app.core.errors import ShuttingDownError, UnavailableError
from app.engine.batcher import Batcher, BatchLimits, Entry, select_batch
from app.engine.job import Job
from app.families.base import Padding, Prepared
from tests.unit.engine.scripted import submitted

AT_ONCE = BatchLimits(max_batch_tokens=100, max_batch_items=4, max_wait_ms=0)
WITHOUT_END = BatchLimits(max_batch_tokens=100, max_batch_items=4, max_wait_ms=3_600_000)


def inputs(*n_tokens: int, batch_key: str = "text") -> list[Prepared]:
    return [Prepared(inputs={}, n_tokens=n, batch_key=batch_key) for n in n_tokens]


def entry(n_tokens: int, batch_key: str = "text") -> Entry:
    return Entry(Job(1), 0, *inputs(n_tokens, batch_key=batch_key))


def lengths(batch: Sequence[Entry] | None) -> list[int]:
    assert batch is not None
    return [e.prepared.n_tokens for e in batch]


def expected(batcher: Batcher) -> Job:
    """A job of one input that is still being prepared."""
    job = Job(1)
    batcher.expect(job)
    return job


def test_inputs_that_wait_together_are_taken_together() -> None:
    batcher = Batcher(AT_ONCE)
    first, second = submitted(batcher, *inputs(5, 6)), submitted(batcher, *inputs(7))
    batch = batcher.take() or []
    assert [(e.job, e.index, e.prepared.n_tokens) for e in batch] == [(first, 0, 5), (first, 1, 6), (second, 0, 7)]


@pytest.mark.parametrize("n_prepared", [1, 3])
def test_more_or_fewer_inputs_than_a_job_has_are_refused(n_prepared: int) -> None:
    batcher = Batcher(AT_ONCE)
    job = Job(2)
    batcher.expect(job)
    with pytest.raises(ValueError, match="argument 2"):
        batcher.submit(job, inputs(*range(1, n_prepared + 1)))


def test_a_batch_keeps_the_item_limit_and_leaves_the_rest() -> None:
    batcher = Batcher(AT_ONCE)
    submitted(batcher, *inputs(1, 1, 1, 1, 1, 1))
    assert len(batcher.take() or []) == 4
    batcher.done()
    assert len(batcher.take() or []) == 2


def test_the_token_limit_counts_padding() -> None:
    # Three of 40 would be 120 padded tokens; 40 + 41 are 2 x 41 = 82.
    waiting = [entry(40), entry(41), entry(40)]
    assert lengths(select_batch(waiting, AT_ONCE)) == [40, 40]


def test_without_padding_the_sum_of_tokens_counts_and_the_order_stays() -> None:
    unpadded = BatchLimits(max_batch_tokens=100, max_batch_items=4, padding=Padding.NONE)
    assert lengths(select_batch([entry(60), entry(1), entry(39), entry(1)], unpadded)) == [60, 1, 39]


def test_an_input_longer_than_the_limit_is_computed_alone() -> None:
    assert lengths(select_batch([entry(1000), entry(1)], AT_ONCE)) == [1000]


def test_neighbours_are_the_nearest_in_length() -> None:
    limits = BatchLimits(max_batch_tokens=1000, max_batch_items=2, max_wait_ms=0)
    assert lengths(select_batch([entry(50), entry(400), entry(52), entry(10)], limits)) == [50, 52]


def test_only_equal_batch_keys_share_a_batch() -> None:
    waiting = [entry(5, "image"), entry(5, "text"), entry(5, "image")]
    assert select_batch(waiting, AT_ONCE) == [waiting[0], waiting[2]]


def test_a_long_input_among_a_stream_of_short_ones_waits_only_for_those_before_it() -> None:
    batcher = Batcher(AT_ONCE)
    submitted(batcher, *inputs(1, 1, 1, 1))
    long = submitted(batcher, *inputs(100))
    taken: list[Entry] = []
    for _ in range(2):
        submitted(batcher, *inputs(1, 1, 1, 1))
        taken += batcher.take() or []
        batcher.done()
    assert long in [e.job for e in taken]


@pytest.mark.parametrize("padding", Padding)
def test_interactive_jobs_and_others_take_turns(padding: Padding) -> None:
    batcher = Batcher(BatchLimits(max_batch_tokens=100, max_batch_items=2, max_wait_ms=0, padding=padding))
    submitted(batcher, *inputs(*[10] * 5))
    submitted(batcher, *inputs(*[20] * 3), interactive=True)
    taken = []
    for _ in range(4):
        taken.append(lengths(batcher.take()))
        batcher.done()
    # The last of the interactive ones has company: it would leave half empty.
    assert taken == [[20, 20], [10, 10], [20, 10], [10, 10]]


def test_interactive_jobs_among_themselves_are_taken_in_their_order() -> None:
    batcher = Batcher(AT_ONCE)
    submitted(batcher, *inputs(1))
    first = submitted(batcher, *inputs(100), interactive=True)
    second = submitted(batcher, *inputs(100), interactive=True)
    taken = []
    for _ in range(3):
        taken += [e.job for e in batcher.take() or []]
        batcher.done()
    assert taken.index(first) < taken.index(second)
    assert len(taken) == 3


def test_the_next_interactive_job_has_its_turn_however_late_it_comes() -> None:
    batcher = Batcher(AT_ONCE)
    submitted(batcher, *inputs(60), interactive=True)
    for _ in range(4):
        submitted(batcher, *inputs(100))
        batcher.take()
        batcher.done()
    submitted(batcher, *inputs(100, 80))
    submitted(batcher, *inputs(90), interactive=True)
    assert lengths(batcher.take()) == [90]


def test_a_dropped_job_is_never_handed_out_and_its_neighbours_are() -> None:
    batcher = Batcher(AT_ONCE)
    submitted(batcher, *inputs(1))
    left = submitted(batcher, *inputs(2, 3))
    submitted(batcher, *inputs(4))
    batcher.drop(left)
    assert lengths(batcher.take()) == [1, 4]


def test_a_job_that_is_dropped_before_it_is_submitted_never_comes() -> None:
    batcher = Batcher(AT_ONCE)
    left = expected(batcher)
    batcher.drop(left)
    assert not batcher.expects(left)
    batcher.submit(left, inputs(1))
    submitted(batcher, *inputs(2))
    assert lengths(batcher.take()) == [2]


def test_tokens_of_a_dropped_job_fill_no_batch() -> None:
    batcher = Batcher(WITHOUT_END)
    expected(batcher)
    left = submitted(batcher, *inputs(90))
    submitted(batcher, *inputs(10))
    batcher.drop(left)
    thread, taken = in_thread(batcher)
    thread.join(0.1)
    assert not taken
    submitted(batcher, *inputs(90))
    thread.join(10)
    assert [lengths(batch) for batch in taken] == [[10]]


def test_when_all_callers_left_take_waits_for_new_work() -> None:
    batcher = Batcher(AT_ONCE)
    batcher.drop(submitted(batcher, *inputs(1)))
    thread, taken = in_thread(batcher)
    submitted(batcher, *inputs(2))
    thread.join(10)
    assert [lengths(batch) for batch in taken] == [[2]]


def test_a_batch_waits_for_inputs_that_are_being_prepared() -> None:
    batcher = Batcher(WITHOUT_END)
    preparing = expected(batcher)
    submitted(batcher, *inputs(1))
    thread, taken = in_thread(batcher)
    thread.join(0.1)
    assert not taken
    batcher.submit(preparing, inputs(2))
    thread.join(10)
    assert [lengths(batch) for batch in taken] == [[1, 2]]


def test_a_batch_does_not_wait_for_a_caller_that_left() -> None:
    batcher = Batcher(WITHOUT_END)
    preparing = expected(batcher)
    submitted(batcher, *inputs(1))
    thread, taken = in_thread(batcher)
    batcher.drop(preparing)
    thread.join(10)
    assert [lengths(batch) for batch in taken] == [[1]]


def test_a_batch_does_not_wait_when_nobody_is_on_the_way() -> None:
    batcher = Batcher(WITHOUT_END)
    submitted(batcher, *inputs(1))
    assert lengths(batcher.take()) == [1]


def test_the_oldest_waits_no_longer_than_it_must() -> None:
    now = 0.0
    batcher = Batcher(BatchLimits(100, 4, max_wait_ms=50), clock=lambda: now)
    expected(batcher)
    submitted(batcher, *inputs(1))
    now = 0.051
    assert lengths(batcher.take()) == [1]


@pytest.mark.parametrize("full", [[1, 1, 1, 1], [26, 26, 26], [100]])
def test_a_full_batch_does_not_wait(full: list[int]) -> None:
    """By its inputs, or by its tokens: one more such input would not fit in."""
    batcher = Batcher(WITHOUT_END)
    expected(batcher)
    submitted(batcher, *inputs(*full))
    assert lengths(batcher.take()) == full


def test_closing_hands_out_what_waits_and_then_ends() -> None:
    batcher = Batcher(WITHOUT_END)
    submitted(batcher, *inputs(1))
    batcher.close()
    assert lengths(batcher.take()) == [1]
    batcher.done()
    assert batcher.take() is None
    with pytest.raises(ShuttingDownError):
        submitted(batcher, *inputs(1))


def test_closing_refuses_what_is_still_being_prepared() -> None:
    batcher = Batcher(AT_ONCE)
    preparing = expected(batcher)
    batcher.close()
    assert isinstance(preparing.embeddings.exception(timeout=10), ShuttingDownError)
    batcher.submit(preparing, inputs(1))
    assert batcher.take() is None


def test_closing_wakes_a_worker_that_waits() -> None:
    batcher = Batcher(AT_ONCE)
    thread, taken = in_thread(batcher)
    batcher.close()
    thread.join(10)
    assert taken == [None]


def test_aborting_answers_everything_that_waits() -> None:
    batcher = Batcher(AT_ONCE)
    job = submitted(batcher, *inputs(1, 2))
    batcher.abort(UnavailableError("stopped"))
    assert isinstance(job.embeddings.exception(timeout=10), UnavailableError)
    assert batcher.take() is None
    with pytest.raises(UnavailableError, match="stopped"):
        batcher.expect(Job(1, 0.0))


class TestWhileABatchIsComputed:
    @pytest.fixture
    def batcher(self) -> Batcher:
        batcher = Batcher(AT_ONCE)
        submitted(batcher, *inputs(1))
        batcher.take()
        return batcher

    def test_the_next_one_is_full(self, batcher: Batcher) -> None:
        thread, taken = in_thread(batcher)
        submitted(batcher, *inputs(30, 30))
        thread.join(0.1)
        assert not taken
        submitted(batcher, *inputs(30))
        thread.join(10)
        assert [lengths(batch) for batch in taken] == [[30, 30, 30]]

    def test_the_next_one_leaves_as_it_is_once_that_is_done(self, batcher: Batcher) -> None:
        thread, taken = in_thread(batcher)
        submitted(batcher, *inputs(2))
        thread.join(0.1)
        assert not taken
        batcher.done()
        thread.join(10)
        assert [lengths(batch) for batch in taken] == [[2]]

    def test_whoever_waits_hears_of_the_end(self, batcher: Batcher) -> None:
        thread, taken = in_thread(batcher)
        submitted(batcher, *inputs(2))
        batcher.abort(UnavailableError("gone"))
        thread.join(10)
        assert taken == [None]


def in_thread(batcher: Batcher) -> tuple[threading.Thread, list[list[Entry] | None]]:
    """`batcher.take()` in a thread of its own, and where its result will be."""
    taken: list[list[Entry] | None] = []
    thread = threading.Thread(target=lambda: taken.append(batcher.take()), daemon=True)
    thread.start()
    return thread, taken
