"""Packed linear layers compute what `nn.Linear` does."""

import pytest
import torch
from torch import nn

from app.families.onednn import OneDnnLinear, pack_linears


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(64,), (1, 64), (7, 64), (2, 300, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_a_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(64, 48, bias=bias)
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(OneDnnLinear(linear)(x), linear(x), rtol=1e-5, atol=1e-6)


def test_rows_that_do_not_lie_side_by_side() -> None:
    linear = nn.Linear(64, 48)
    x = torch.randn(64, 30).T
    with torch.inference_mode():
        torch.testing.assert_close(OneDnnLinear(linear)(x), linear(x), rtol=1e-5, atol=1e-6)


def test_every_linear_layer_is_replaced_but_no_other_kind() -> None:
    class Special(nn.Linear):
        pass

    module = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.GELU()), Special(8, 8))
    x = torch.randn(5, 8)
    with torch.inference_mode():
        expected = module(x)
        pack_linears(module)
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-6)
    kinds = [type(layer) for layer in module.modules() if not isinstance(layer, nn.Sequential)]
    assert kinds == [OneDnnLinear, OneDnnLinear, nn.GELU, Special]


def test_half_precision_is_left_alone() -> None:
    module = nn.Sequential(nn.Linear(8, 8, dtype=torch.bfloat16))
    pack_linears(module)
    assert type(module[0]) is nn.Linear
