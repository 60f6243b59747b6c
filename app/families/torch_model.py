"""What every family that computes with PyTorch shares: dtype, attention, memory, out-of-memory errors."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from app.core.errors import ModelLoadError, OutOfMemoryError
from app.core.types import Embedding, FloatArray
from app.families.base import EmbeddingModel, LoadOptions, ModelInfo, Prepared
from app.families.cuda_streams import give_back, take
from app.families.shared_bases import HasMemory, Share

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_OUT_OF_MEMORY_TEXTS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "failed to allocate",
    "bad_alloc",
)
"""How CUDA and MPS, torch's CPU allocator on Windows, the one elsewhere, ONNX Runtime and OpenVINO word it."""


class TorchModel(EmbeddingModel):
    """A model whose weights, or what it has beside shared ones, are a `torch.nn.Module`.

    A family loads its module, calls `super().__init__` with it and implements `forward_batch`.
    """

    def __init__(
        self, module: nn.Module, info: ModelInfo, own_bytes: int, share: Share[HasMemory] | None = None
    ) -> None:
        """`share` is of the weights that other models may use, too, which `own_bytes` does not count."""
        self.module = module
        self.info = info
        self._share = share
        self._own_bytes = own_bytes

    @property
    def memory_bytes(self) -> int:
        return self._own_bytes + (self._share.memory_bytes if self._share else 0)

    @abstractmethod
    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        """Do what `encode` promises. Runs in inference mode; a failed allocation may come out as torch raises it."""

    def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
        try:
            with torch.inference_mode():
                return self.forward_batch(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("out of memory: %s", error)
        # Outside the except block: its traceback would keep the activations alive, and so the memory in use.
        free_cached_memory(self.info.device)
        raise OutOfMemoryError("The model has not enough memory for this input now. Send less at once or try later.")

    @contextmanager
    def computing(self, *, urgent: bool) -> Iterator[None]:
        # Kernels of a stream of higher priority begin as soon as running ones leave room, not behind all that wait.
        stream = take(self.info.device, priority=-1) if urgent and self.info.device.startswith("cuda") else None
        if stream is None:
            yield
            return
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            give_back(stream)

    def close(self) -> None:
        del self.module
        if self._share is not None:
            self._share.close()
        free_cached_memory(self.info.device)


def torch_dtype(name: str) -> torch.dtype:
    """`float32`, `bfloat16` or `float16`. Raises `ModelLoadError` for another name."""
    if name not in DTYPES:
        raise ModelLoadError(f"The dtype is one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def choose_attention(options: LoadOptions) -> str:
    """`attn_implementation` for transformers: FlashAttention where it is installed and applies, else SDPA."""
    on_gpu = options.device.startswith("cuda")
    half = torch_dtype(options.dtype) in (torch.bfloat16, torch.float16)
    return "flash_attention_2" if on_gpu and half and find_spec("flash_attn") else "sdpa"


def memory_bytes(module: nn.Module) -> int:
    """Bytes of the module's parameters and buffers; tied weights count once."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.nbytes for tensor in tensors.values())


def dtype_name(module: Any) -> str:
    """`float32`, `bfloat16` or `float16`: that of a transformers' model's weights."""
    return str(module.dtype).removeprefix("torch.")


def to_device(tensor: Tensor, device: str) -> Tensor:
    """A CPU tensor on the device; on a GPU the copy may still be under way, in order before what is computed next."""
    if not device.startswith("cuda"):
        return tensor.to(device)
    # From pinned memory, and only from there, a copy does not hold up the thread. torch keeps the memory until then.
    return tensor.pin_memory().to(device, non_blocking=True)


def cat_to_device(tensors: Sequence[Tensor], device: str) -> Tensor:
    """`torch.cat` of CPU tensors of one dtype, on the device: one transfer, as `to_device` makes it."""
    if not device.startswith("cuda"):
        return torch.cat(list(tensors)).to(device)
    # Joined within pinned memory, rather than joined and then copied there.
    length = sum(len(tensor) for tensor in tensors)
    first = tensors[0]
    joined = torch.empty((length, *first.shape[1:]), dtype=first.dtype, pin_memory=True)
    torch.cat(list(tensors), out=joined)
    return joined.to(device, non_blocking=True)


def to_numpy(tensor: Tensor) -> FloatArray:
    """The values as float32 in memory of the CPU, same shape."""
    values = tensor.detach().float()
    if not values.is_cuda:
        array: FloatArray = values.cpu().numpy()
        return array
    # Through pinned memory the copy is several times faster, and the thread waits for this model's work alone: asleep,
    # so that the cores are free for preparing what comes next.
    received = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    received.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(values.device))
    arrived.synchronize()
    # A copy: results live as long as an answer, and pinned memory that was handed out is never given back.
    return received.numpy().copy()


def is_out_of_memory(error: Exception) -> bool:
    """True for a failed allocation. Only Python and CUDA have a class for it; the others are told by text."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(known in text for known in _OUT_OF_MEMORY_TEXTS)


def free_cached_memory(device: str) -> None:
    """Hand memory that PyTorch keeps for reuse back to the device. The CPU allocator keeps none."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
