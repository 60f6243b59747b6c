"""Whether pairs are enough to learn from: told to whoever sends them, before a job is taken on."""

from collections.abc import Sequence

from app.core.errors import BadInputError
from app.training.options import TrainingOptions
from app.training.pairs_split import TextPair, split


def require_enough(pairs: Sequence[TextPair], options: TrainingOptions, things: str = "passages") -> None:
    """Raise `BadInputError` if nothing can be learned from the pairs, or from those that are not held out."""
    if can_be_learned(pairs):
        if can_be_learned(split(pairs, options.eval_fraction, options.seed).train):
            return
        raise BadInputError(
            f"Once some pairs are held out, all others share one query, or one of the {things}, so nothing can be "
            "learned from them. Send more pairs, or an eval_fraction of 0, which holds none out."
        )
    raise BadInputError(
        f"Send pairs with two different queries and two different {things} at least, better hundreds of them: each "
        "query learns to tell its own from those of the others."
    )


def can_be_learned(pairs: Sequence[TextPair]) -> bool:
    """True if two of them share nothing, so that each is the other's negative."""
    return len({pair.query for pair in pairs}) > 1 and len({pair.positive for pair in pairs}) > 1
