"""What all PyTorch families share."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from torch import nn

from app.core.errors import ModelLoadError, OutOfMemoryError
from app.core.types import Embedding
from app.families import torch_model
from app.families.base import Checkpoint, LoadOptions, ModelInfo, Prepared
from app.families.catalog import CATALOG
from app.families.torch_model import (
    TorchModel,
    cat_to_device,
    choose_attention,
    memory_bytes,
    to_device,
    to_numpy,
    torch_dtype,
)
from tests.devices import DEVICES

INFO = ModelInfo(dim=2, max_tokens=8, device="cpu", dtype="float32")
ONE = Prepared(inputs={}, n_tokens=1)


class Scripted(TorchModel):
    """Computes by calling a function."""

    spec = CATALOG["e5"]

    def __init__(self, compute: Callable[[], torch.Tensor]) -> None:
        super().__init__(nn.Identity(), INFO, 0)
        self.compute = compute

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        raise NotImplementedError

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        return [Embedding(n_tokens=1, dense=to_numpy(self.compute())) for _ in batch]


def raises(error: Exception) -> Callable[[], torch.Tensor]:
    def compute() -> torch.Tensor:
        raise error

    return compute


def test_inference_mode() -> None:
    modes: list[bool] = []

    def compute() -> torch.Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return torch.ones(2)

    assert len(Scripted(compute).encode([ONE, ONE])) == 2
    assert modes == [True, True]


@pytest.mark.parametrize(
    "compute",
    [
        raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
        raises(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)")),
        raises(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")),
        lambda: torch.empty(1 << 56, dtype=torch.uint8),
    ],
    ids=["cuda", "mps", "cpu of windows", "cpu of this machine"],
)
def test_out_of_memory_is_told_apart(compute: Callable[[], torch.Tensor]) -> None:
    with pytest.raises(OutOfMemoryError, match="not enough memory") as caught:
        Scripted(compute).encode([ONE])
    assert caught.value.__context__ is None, "the traceback of torch's error would keep its tensors alive"


def test_a_bug_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Scripted(lambda: torch.ones(2, 3) @ torch.ones(2, 3)).encode([ONE])


def test_closing_lets_the_module_go() -> None:
    model = Scripted(lambda: torch.ones(2))
    model.close()
    assert not hasattr(model, "module")


def test_memory_counts_tied_weights_once_and_buffers_too() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    module = nn.Sequential(first, second)
    module.register_buffer("table", torch.zeros(3, dtype=torch.float64))
    assert memory_bytes(module) == 16 * 4 + 3 * 8


def test_arrays_are_float32() -> None:
    array = to_numpy(torch.tensor([0.5, -2.0], dtype=torch.bfloat16, requires_grad=True))
    assert array.dtype == np.float32
    assert array.tolist() == [0.5, -2.0]


@pytest.mark.parametrize("device", DEVICES)
class TestCopies:
    """To a device and back, in inference mode as in a model."""

    @pytest.fixture(autouse=True)
    def in_inference_mode(self) -> Iterator[None]:
        with torch.inference_mode():
            yield

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
    def test_one_tensor(self, device: str, dtype: torch.dtype) -> None:
        tensor = torch.arange(12).reshape(3, 4).to(dtype)
        copied = to_device(tensor, device)
        assert copied.device.type == device
        torch.testing.assert_close(copied.cpu(), tensor, rtol=0, atol=0)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
    def test_several_tensors_joined(self, device: str, dtype: torch.dtype) -> None:
        parts = [torch.full((n, 2, 3), float(n)).to(dtype) for n in (1, 4, 2)]
        joined = cat_to_device(parts, device)
        assert joined.device.type == device
        torch.testing.assert_close(joined.cpu(), torch.cat(parts), rtol=0, atol=0)

    def test_back(self, device: str) -> None:
        array = to_numpy(torch.arange(6.0, device=device, dtype=torch.bfloat16).reshape(2, 3) * 2)
        assert array.dtype == np.float32
        assert array.tolist() == [[0, 2, 4], [6, 8, 10]]

    def test_what_is_copied_may_be_let_go(self, device: str) -> None:
        """A copy that is still under way keeps its source, though nobody else does."""
        copies = [to_device(torch.full((1 << 20,), float(n)), device) for n in range(8)]
        assert [float(copy.mean()) for copy in copies] == list(range(8))


def test_dtypes_by_name() -> None:
    assert torch_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(ModelLoadError, match="float32, bfloat16, float16"):
        torch_dtype("int8")


@pytest.mark.parametrize(
    ("device", "dtype", "installed", "expected"),
    [
        ("cuda:0", "bfloat16", True, "flash_attention_2"),
        ("cuda", "float16", True, "flash_attention_2"),
        ("cuda", "float32", True, "sdpa"),
        ("cuda", "bfloat16", False, "sdpa"),
        ("cpu", "bfloat16", True, "sdpa"),
    ],
)
def test_attention(device: str, dtype: str, installed: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_model, "find_spec", lambda name: Path("flash_attn") if installed else None)
    assert choose_attention(LoadOptions(device=device, dtype=dtype)) == expected
