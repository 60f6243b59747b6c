"""Attention over packed sequences computes what one call a sequence does."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from app.families import varlen_attention
from app.families.varlen_attention import (
    Bounds,
    VarlenAttention,
    choose_varlen_attention,
    flash_attn_attention,
    jagged_attention,
    torch_attention,
)

LENGTHS = (1, 7, 64, 2, 33)
N_HEADS, HEAD_DIM = 4, 16


def packed(device: str, dtype: torch.dtype) -> Tensor:
    """Query, key and value [n_tokens, 3, n_heads, head_dim] of the sequences behind each other."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(sum(LENGTHS), 3, N_HEADS, HEAD_DIM, generator=random).to(device, dtype)


def one_by_one(tokens: Tensor) -> Tensor:
    """[n_tokens, n_heads, head_dim], computed for each sequence by itself in float32."""
    sequences = [sequence.permute(1, 2, 0, 3)[:, None] for sequence in tokens.float().split(LENGTHS)]
    return torch.cat([scaled_dot_product_attention(*sequence)[0].transpose(0, 1) for sequence in sequences])


def assert_same(attention: VarlenAttention | None, device: str, dtype: torch.dtype, tolerance: float) -> None:
    assert attention is not None
    # As models compute: tensors that were made in inference mode, and views of one product.
    with torch.inference_mode():
        tokens = packed(device, dtype)
        attended = attention(*tokens.unbind(1), Bounds.of(LENGTHS, device))
        assert attended.shape == (sum(LENGTHS), N_HEADS, HEAD_DIM)
        assert attended.dtype == dtype
        torch.testing.assert_close(attended.float(), one_by_one(tokens), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_nested_tensors(dtype: torch.dtype, tolerance: float) -> None:
    assert_same(jagged_attention(), "cpu", dtype, tolerance)


def test_bounds() -> None:
    bounds = Bounds.of(LENGTHS, "cpu")
    assert bounds.cumulative.tolist() == [0, 1, 8, 72, 74, 107]
    assert bounds.cumulative.dtype == torch.int32
    assert bounds.longest == 64


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("attention", "dtype", "tolerance"),
    [
        (flash_attn_attention, torch.bfloat16, 2e-2),
        (flash_attn_attention, torch.float16, 3e-3),
        (torch_attention, torch.bfloat16, 2e-2),
        (torch_attention, torch.float16, 3e-3),
        (jagged_attention, torch.bfloat16, 2e-2),
        (jagged_attention, torch.float32, 1e-3),
    ],
)
def test_on_a_gpu(attention: Callable[[], VarlenAttention | None], dtype: torch.dtype, tolerance: float) -> None:
    way = attention()
    if way is None:
        pytest.skip("not installed")
    assert_same(way, "cuda", dtype, tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_chosen_one_on_a_gpu(dtype: torch.dtype) -> None:
    assert_same(choose_varlen_attention("cuda", dtype, HEAD_DIM), "cuda", dtype, 2e-2)


class TestChoice:
    @pytest.fixture(autouse=True)
    def ampere_with_torchs_flash_attention(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
        # None stands for a module that cannot be imported.
        monkeypatch.setitem(sys.modules, "flash_attn", None)

    @staticmethod
    def chosen(device: str = "cuda:0", dtype: torch.dtype = torch.bfloat16, head_dim: int = 64) -> str | None:
        attention = choose_varlen_attention(device, dtype, head_dim)
        return attention.name if attention else None

    def test_of_torch(self) -> None:
        assert self.chosen() == "varlen_attn"

    def test_flash_attn_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        installed = ModuleType("flash_attn")
        installed.flash_attn_varlen_func = lambda *_: None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "flash_attn", installed)
        assert self.chosen() == "flash_attention_2"

    def test_flash_attn_without_the_function(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Newer packages of that name keep other kernels under it."""
        monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
        assert self.chosen() == "varlen_attn"

    @pytest.mark.parametrize(("dtype", "head_dim"), [(torch.float32, 64), (torch.bfloat16, 512)])
    def test_nested_tensors_for_the_rest(self, dtype: torch.dtype, head_dim: int) -> None:
        assert self.chosen(dtype=dtype, head_dim=head_dim) == "sdpa_jagged"

    def test_nested_tensors_on_an_older_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        assert self.chosen() == "sdpa_jagged"

    def test_nested_tensors_where_torch_was_built_without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
        assert varlen_attention.torch_attention() is None
        assert self.chosen() == "sdpa_jagged"

    @pytest.mark.parametrize(("device", "head_dim"), [("cpu", 64), ("mps", 64), ("cuda", 36)])
    def test_none(self, device: str, head_dim: int) -> None:
        assert self.chosen(device, head_dim=head_dim) is None
