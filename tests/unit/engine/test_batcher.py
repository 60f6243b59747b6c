"""The batcher: what it puts together, whom it drops, and that nobody starves."""

import threading
from concurrent.futures import Future

import pytest

from app.core.errors import ShuttingDownError, UnavailableError
from app.core.types import Embedding
from app.engine.batcher import Batcher, BatchLimits, Entry, select_batch
from app.families.base import Padding, Prepared

AT_ONCE = BatchLimits(max_batch_tokens=100, max_batch_items=4, max_wait_ms=0)


def entry(n_tokens: int, batch_key: str = "text") -> Entry:
    return Entry(Prepared(inputs={}, n_tokens=n_tokens, batch_key=batch_key))


def lengths(batch: list[Entry] | None) -> list[int]:
    assert batch is not None
    return [e.prepared.n_tokens for e in batch]


def test_entries_that_wait_together_are_taken_together() -> None:
    batcher = Batcher(AT_ONCE)
    entries = [entry(5), entry(5), entry(5)]
    for e in entries:
        batcher.submit(e)
    assert batcher.take() == entries


def test_a_batch_keeps_the_item_limit_and_leaves_the_rest() -> None:
    batcher = Batcher(AT_ONCE)
    for _ in range(6):
        batcher.submit(entry(1))
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


def test_a_long_entry_among_a_stream_of_short_ones_waits_only_for_those_before_it() -> None:
    batcher = Batcher(AT_ONCE)
    for _ in range(4):
        batcher.submit(entry(1))
    long = batcher.submit(entry(100))
    for _ in range(2):
        for _ in range(4):
            batcher.submit(entry(1))
        batcher.take()
    assert long.running()


def test_a_cancelled_entry_is_never_handed_out_and_its_neighbours_are() -> None:
    batcher = Batcher(AT_ONCE)
    first, left, last = entry(1), entry(2), entry(3)
    for e in (first, left, last):
        batcher.submit(e)
    assert left.future.cancel()
    assert batcher.take() == [first, last]


def test_a_taken_entry_can_no_longer_be_cancelled() -> None:
    batcher = Batcher(AT_ONCE)
    future = batcher.submit(entry(1))
    batcher.take()
    assert not future.cancel()


def test_when_all_callers_left_take_waits_for_new_work() -> None:
    batcher = Batcher(AT_ONCE)
    batcher.submit(entry(1)).cancel()
    taken = in_thread(batcher)
    newcomer = entry(2)
    batcher.submit(newcomer)
    assert taken.result(timeout=10) == [newcomer]


def test_a_batch_waits_for_inputs_that_are_being_prepared() -> None:
    batcher = Batcher(BatchLimits(100, 4, max_wait_ms=3_600_000))
    old, young = entry(1), entry(2)
    with batcher.expecting(1):
        batcher.submit(old)
        taken = in_thread(batcher)
        batcher.submit(young)
    assert taken.result(timeout=10) == [old, young]


def test_a_batch_does_not_wait_when_nobody_is_on_the_way() -> None:
    batcher = Batcher(BatchLimits(100, 4, max_wait_ms=3_600_000))
    alone = entry(1)
    batcher.submit(alone)
    assert batcher.take() == [alone]


def test_the_oldest_waits_no_longer_than_it_must() -> None:
    now = 0.0
    batcher = Batcher(BatchLimits(100, 4, max_wait_ms=50), clock=lambda: now)
    old = entry(1)
    with batcher.expecting(1):
        batcher.submit(old)
        now = 0.051
        assert batcher.take() == [old]


def test_a_full_batch_does_not_wait() -> None:
    batcher = Batcher(BatchLimits(max_batch_tokens=100, max_batch_items=2, max_wait_ms=3_600_000))
    with batcher.expecting(1):
        batcher.submit(entry(1))
        batcher.submit(entry(1))
        assert lengths(batcher.take()) == [1, 1]


def test_closing_hands_out_what_waits_and_then_ends() -> None:
    batcher = Batcher(BatchLimits(100, 4, max_wait_ms=3_600_000))
    waiting = entry(1)
    batcher.submit(waiting)
    batcher.close()
    assert batcher.take() == [waiting]
    assert batcher.take() is None
    with pytest.raises(ShuttingDownError):
        batcher.submit(entry(1))


def test_closing_wakes_a_worker_that_waits() -> None:
    batcher = Batcher(AT_ONCE)
    taken = in_thread(batcher)
    batcher.close()
    assert taken.result(timeout=10) is None


def test_aborting_answers_everything_that_waits() -> None:
    batcher = Batcher(AT_ONCE)
    future: Future[Embedding] = batcher.submit(entry(1))
    batcher.abort(UnavailableError("stopped"))
    assert isinstance(future.exception(timeout=10), UnavailableError)
    assert batcher.take() is None


def in_thread(batcher: Batcher) -> Future[list[Entry] | None]:
    """`batcher.take()` in a thread of its own."""
    taken: Future[list[Entry] | None] = Future()
    threading.Thread(target=lambda: taken.set_result(batcher.take()), daemon=True).start()
    return taken


class TestWhileABatchIsComputed:
    @staticmethod
    def taking(batcher: Batcher) -> tuple[threading.Thread, list[list[Entry] | None]]:
        taken: list[list[Entry] | None] = []
        thread = threading.Thread(target=lambda: taken.append(batcher.take()), daemon=True)
        thread.start()
        return thread, taken

    def test_the_next_one_is_full(self) -> None:
        batcher = Batcher(AT_ONCE)
        batcher.submit(entry(1))
        batcher.take()
        thread, taken = self.taking(batcher)
        for _ in range(3):
            batcher.submit(entry(30))
        thread.join(0.1)
        assert not taken
        batcher.submit(entry(30))
        thread.join(10)
        assert [lengths(batch) for batch in taken] == [[30, 30, 30]]

    def test_the_next_one_leaves_as_it_is_once_that_is_done(self) -> None:
        batcher = Batcher(AT_ONCE)
        batcher.submit(entry(1))
        batcher.take()
        thread, taken = self.taking(batcher)
        batcher.submit(entry(2))
        thread.join(0.1)
        assert not taken
        batcher.done()
        thread.join(10)
        assert [lengths(batch) for batch in taken] == [[2]]

    def test_whoever_waits_hears_of_the_end(self) -> None:
        batcher = Batcher(AT_ONCE)
        batcher.submit(entry(1))
        batcher.take()
        thread, taken = self.taking(batcher)
        batcher.submit(entry(2))
        batcher.abort(UnavailableError("gone"))
        thread.join(10)
        assert taken == [None]
