"""What follows from the options."""

import pytest

from app.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("n_pairs", "epochs", "ratio", "steps"),
    [
        *[(10, 1, 0.1, 0), (320, 1, 0.1, 1), (320, 3, 0.1, 3), (330, 1, 0.1, 2), (10, 3, 1, 2), (320, 1, 0, 0)],
        # The 33rd pair is left out of each epoch, so these are one step and two.
        *[(33, 1, 0.1, 0), (65, 1, 0.1, 1), (33, 2, 0.1, 1)],
        *[(2, 0.5, 1, 0), (34, 1, 1, 1)],
    ],
)
def test_warm_up_leaves_a_step(n_pairs: int, epochs: float, ratio: float, steps: int) -> None:
    """Its first step has the rate 0, and may not be the only one."""
    assert TrainingOptions(epochs=epochs, warmup_ratio=ratio, batch_size=32).warmup_steps(n_pairs) == steps


@pytest.mark.parametrize(
    ("n_pairs", "drops"), [(2, False), (3, False), (32, False), (33, True), (34, False), (65, True)]
)
def test_only_a_pair_alone_is_left_out(n_pairs: int, drops: bool) -> None:
    assert TrainingOptions(batch_size=32).drops_last(n_pairs) is drops
