import numpy as np
import pytest

from app.core.quantization import DType, stored

ROWS = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)


def test_float32_is_not_copied() -> None:
    assert stored(ROWS, DType.FLOAT32).values is ROWS


def test_float16_is_rounded() -> None:
    values = stored(ROWS, DType.FLOAT16).values
    assert values.dtype == np.float16
    np.testing.assert_allclose(values, ROWS, rtol=2**-11)


def test_int8_is_off_by_half_a_step_at_most() -> None:
    quantized = stored(ROWS, DType.INT8)
    assert quantized.scales is not None
    assert (quantized.values.dtype, quantized.scales.shape) == (np.int8, (50,))
    np.testing.assert_allclose(quantized.scales, np.abs(ROWS).max(axis=1) / 127, rtol=1e-6)
    back = quantized.values * quantized.scales[:, None]
    assert (np.abs(back - ROWS) <= quantized.scales[:, None] * 0.5001).all()
    assert (np.abs(quantized.values).max(axis=1) == 127).all()


def test_int8_of_one_vector_has_one_scale() -> None:
    quantized = stored(ROWS[0], DType.INT8)
    assert quantized.scales is not None
    assert (quantized.values.shape, quantized.scales.shape) == ((20,), (1,))


@pytest.mark.parametrize("shape", [(2, 4), (0, 4), (4,)])
def test_int8_of_zeros_is_zeros(shape: tuple[int, ...]) -> None:
    quantized = stored(np.zeros(shape, np.float32), DType.INT8)
    assert quantized.scales is not None
    assert quantized.values.shape == shape
    assert not quantized.values.any()
    assert not quantized.scales.any()


def test_ubinary_keeps_the_signs() -> None:
    values = stored(ROWS, DType.UBINARY).values
    assert (values.dtype, values.shape) == (np.uint8, (50, 3))
    np.testing.assert_array_equal(np.unpackbits(values, axis=1)[:, :20], ROWS > 0)
    assert not np.unpackbits(values, axis=1)[:, 20:].any()
    np.testing.assert_array_equal(stored(np.float32([1, -1, 0, 2]), DType.UBINARY).values, [0b10010000])
