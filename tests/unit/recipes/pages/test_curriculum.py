"""Pages that are drawn ahead of their steps."""

from concurrent.futures import Future

from recipes.pages.curriculum import N_AHEAD, _Ahead
from recipes.pages.page import Page


def test_each_step_gets_its_own_pages_and_none_are_drawn_beyond_the_last() -> None:
    started: list[int] = []
    results: dict[int, list[Page]] = {}

    def start(number: int) -> "Future[list[Page]]":
        started.append(number)
        future: Future[list[Page]] = Future()
        results[number] = []
        future.set_result(results[number])
        return future

    ahead = _Ahead(start, n_steps=10)
    for number in range(3, 10):
        assert ahead(number) is results[number]
        assert max(started) == min(number + N_AHEAD, 10) - 1
    assert started == list(range(3, 10))
