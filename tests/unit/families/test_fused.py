"""Compiled or not, what is fused computes the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, silu

from app.families import fused
from app.families.fused import FEWEST_ROWS, Fused, add_layer_norm, linear_gelu, rotated, silu_product
from tests.devices import DEVICES

N_ROWS = FEWEST_ROWS + 1


def random(*shape: int, device: str, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).to(device, dtype)


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As transformers writes it."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos[:, None, None] + torch.cat((-second, first), dim=-1) * sin[:, None, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("device", DEVICES)
def test_as_written_out(device: str, dtype: torch.dtype, tolerance: float) -> None:
    with torch.inference_mode():
        x, y = (random(N_ROWS, 48, device=device, dtype=dtype) * scale for scale in (1, 2))
        weight, bias = x[0], y[1]
        expected = layer_norm(x.float() + y.float(), (48,), weight.float(), bias.float(), 1e-5)
        assert_same(add_layer_norm(x, y, weight, bias, eps=1e-5), expected, dtype, tolerance)
        assert_same(silu_product(x, y), silu(x.float()) * y.float(), dtype, tolerance)
        heads = random(N_ROWS, 2, 3, 16, device=device, dtype=dtype)
        half = random(N_ROWS, 8, device=device, dtype=torch.float32)
        cos, sin = (torch.cat((part, part), dim=-1) for part in (half.cos(), half.sin()))
        assert_same(rotated(heads, cos, sin), turned(heads.float(), cos, sin), dtype, tolerance)


@pytest.mark.parametrize("device", DEVICES)
def test_gelu_within_a_product_is_no_farther_off_than_bfloat16(device: str) -> None:
    """The exact one in float32 is 5e-4 away at most, and numbers of bfloat16 above 1 are 8e-3 apart."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, device=device, dtype=torch.bfloat16)
    x = random(N_ROWS, 64, device=device, dtype=torch.bfloat16)
    with torch.inference_mode():
        found = linear_gelu(linear, x).float()
        exact = gelu(linear.float()(x.float()))
    torch.testing.assert_close(found, exact, rtol=8e-3, atol=1e-3)


def assert_same(found: Tensor, expected: Tensor, dtype: torch.dtype, tolerance: float) -> None:
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
def test_it_is_compiled_on_a_gpu() -> None:
    if not fused.can_compile():
        pytest.skip("no compiler")
    with torch.inference_mode():
        x = random(N_ROWS, 48, device="cuda", dtype=torch.bfloat16)
        function = Fused(lambda a, b: a + b)
        function(x, x)
    assert len(function._kinds) == 1
    assert function._may_compile


def test_one_code_does_for_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    compile_ = torch.compile
    monkeypatch.setattr(Fused, "_suits", lambda *_: True)
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic: compile_(function, backend=backend, dynamic=dynamic)
    )
    functions = [Fused(fused._add_layer_norm), Fused(fused._silu_product), Fused(fused._rotated)]
    with torch.inference_mode():
        for n_rows in (N_ROWS, N_ROWS + 7, 2 * N_ROWS):
            x = random(n_rows, 48, device="cpu", dtype=torch.float32)
            functions[0](x, x, x[0], x[1], eps=1e-5)
            functions[1](x, x)
            functions[2](x.view(n_rows, 1, 3, 16), x[:, :16], x[:, :16])
            # Another width has code of its own, in which it is a constant as well.
            functions[1](x[:, :32], x[:, :32])
    assert len(compiled) == 4
    assert not any(size.is_symbol() for graph in compiled for size in symbolic_widths(graph))


def symbolic_widths(graph: Any) -> list[Any]:
    """Sizes of the inputs but their rows that are no numbers."""
    inputs = [node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"]
    sizes = [size for value in inputs if isinstance(value, Tensor) for size in value.shape[1:]]
    return [size.node.expr for size in sizes if isinstance(size, torch.SymInt)]


@pytest.fixture
def compiled_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes a function for compiled code, and every tensor for large ones on a GPU."""

    def compiled_with(code: Callable[..., Any]) -> None:
        monkeypatch.setattr(Fused, "_suits", lambda self, first: self._may_compile)
        monkeypatch.setattr(torch, "compile", lambda function, dynamic: code)

    return compiled_with


def test_where_torch_cannot_compile_it_runs_as_it_is(
    compiled_with: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def fails(*_: Any) -> Tensor:
        tries.append(1)
        raise RuntimeError("no Python.h")

    def add(a: Tensor, b: Tensor) -> Tensor:
        return a + b

    compiled_with(fails)
    function, one = Fused(add), torch.ones(2)
    for _ in range(3):
        assert function(one, one).tolist() == [2, 2]
    assert len(tries) == 1
    assert "cannot compile add here" in caplog.text


def test_a_full_gpu_is_no_reason_to_stop_compiling(compiled_with: Callable[..., None]) -> None:
    def fails(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    compiled_with(fails)
    function = Fused(lambda a: a)
    with pytest.raises(torch.OutOfMemoryError):
        function(torch.ones(2))
    assert function._may_compile
