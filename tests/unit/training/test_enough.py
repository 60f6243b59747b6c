"""Too few pairs are refused before a job is taken on, with what to do."""

import pytest

from app.core.errors import BadInputError
from app.training.enough import require_enough
from app.training.options import TrainingOptions
from app.training.pairs_split import TextPair, split

HALF = TrainingOptions(eval_fraction=0.5)
STAR = [TextPair("one query", f"passage {number}") for number in range(5)]
OTHERS = [TextPair(f"query {number}", f"other {number}") for number in range(5)]


@pytest.mark.parametrize(
    "pairs", [[], [TextPair("a", "b")], [TextPair("a", "b")] * 9, STAR, [TextPair(f"q {n}", "p") for n in range(20)]]
)
def test_two_pairs_must_share_nothing(pairs: list[TextPair]) -> None:
    with pytest.raises(BadInputError, match="two different queries and two different passages"):
        require_enough(pairs, TrainingOptions())


def test_two_pairs_are_enough() -> None:
    require_enough([TextPair("a", "b"), TextPair("c", "d")], TrainingOptions())


def test_what_is_held_out_may_leave_nothing_to_learn_from() -> None:
    """The group of one query is too large to be held out, and all else is."""
    pairs = [*STAR, *OTHERS]
    assert list(split(pairs, 0.5, HALF.seed).train) == STAR
    with pytest.raises(BadInputError, match="eval_fraction of 0"):
        require_enough(pairs, HALF)
    require_enough(pairs, TrainingOptions(eval_fraction=0))


def test_it_speaks_of_what_was_sent() -> None:
    with pytest.raises(BadInputError, match="two different images"):
        require_enough([], HALF, "images")
