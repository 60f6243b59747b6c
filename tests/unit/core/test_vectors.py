import numpy as np
import pytest

from app.core.errors import BadInputError
from app.core.vectors import shortened, unit


def test_vectors_are_scaled_to_unit_length_and_zeros_stay() -> None:
    np.testing.assert_allclose(unit(np.float32([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(unit(np.float32([0, 2])), [0, 1])
    assert unit(np.ones((2, 3), np.float32)).dtype == np.float32


def test_the_first_numbers_are_kept() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(shortened(rows, 2), [[0, 1], [3, 4]])
    np.testing.assert_array_equal(shortened(rows[0], 3), rows[0])


@pytest.mark.parametrize("dimensions", [-1, 0, 4, 10**30])
def test_more_than_there_are_or_none_are_refused(dimensions: int) -> None:
    with pytest.raises(BadInputError, match="between 1 and 3"):
        shortened(np.zeros((2, 3), np.float32), dimensions)
