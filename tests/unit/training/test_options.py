"""What follows from the options."""

import pytest

from app.training.options import TrainingOptions


@pytest.mark.parametrize(
    ("n_pairs", "epochs", "ratio", "steps"),
    [(10, 1, 0.1, 0), (320, 1, 0.1, 1), (320, 3, 0.1, 3), (330, 1, 0.1, 2), (10, 3, 1, 2), (320, 1, 0, 0)],
)
def test_warm_up_leaves_a_step(n_pairs: int, epochs: float, ratio: float, steps: int) -> None:
    """Its first step has the rate 0, and may not be the only one."""
    assert TrainingOptions(epochs=epochs, warmup_ratio=ratio, batch_size=32).warmup_steps(n_pairs) == steps
