"""Self-attention over packed sequences on an NVIDIA GPU: every token sees all tokens of its own text, and no others.

One call for a whole batch without padding. Which kernels do it depends on what is installed and on the numbers' type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from app.families.torch_model import to_device

HALF = (torch.float16, torch.bfloat16)
MAX_HEAD_DIM = 256
"""Widest head of FlashAttention 2; a head's width must be a multiple of 8 as well."""
AMPERE = (8, 0)
"""Compute capability from which on FlashAttention 2 runs."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the sequences of a batch lie among its packed tokens."""

    cumulative: Tensor
    """[n_sequences + 1] int32 on the tokens' device: 0, then the end of each sequence."""
    longest: int
    """Tokens of the longest sequence, or any higher number."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: str) -> Self:
        """For sequences of that many tokens each, at least one."""
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(to_device(ends, device), max(lengths))


Attend = Callable[[Tensor, Tensor, Tensor, Bounds], Tensor]
"""Query, key and value, each [n_tokens, n_heads, head_dim] and maybe a view, to [n_tokens, n_heads, head_dim]."""


@dataclass(frozen=True, slots=True)
class VarlenAttention:
    """A way to compute it."""

    name: str
    """For `ModelInfo.attention`."""
    attend: Attend
    can_be_recorded: bool = False
    """True if it never waits for the GPU, so that a CUDA graph can hold it."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, bounds: Bounds) -> Tensor:
        return self.attend(query, key, value, bounds)


def choose_varlen_attention(device: str, dtype: torch.dtype, head_dim: int) -> VarlenAttention | None:
    """The fastest way there is on that device; None if there is none, as on a CPU, or if heads have an odd width."""
    if not device.startswith("cuda") or head_dim % 8:
        return None
    if dtype in HALF and head_dim <= MAX_HEAD_DIM and torch.cuda.get_device_capability(device) >= AMPERE:
        flash = flash_attn_attention() or torch_attention()
        if flash is not None:
            return flash
    return jagged_attention()


def flash_attn_attention() -> VarlenAttention | None:
    """By the package flash-attn; None where it is not installed or does not fit the installed torch."""
    try:
        function = import_module("flash_attn").flash_attn_varlen_func
    except (ImportError, OSError, AttributeError):
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, bounds: Bounds) -> Tensor:
        ends, longest = bounds.cumulative, bounds.longest
        attended: Tensor = function(query, key, value, ends, ends, longest, longest)
        return attended

    return VarlenAttention("flash_attention_2", attend, can_be_recorded=True)


def torch_attention() -> VarlenAttention | None:
    """By torch's own build of FlashAttention; None where it has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    if not torch.backends.cuda.is_flash_attention_available():
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, bounds: Bounds) -> Tensor:
        ends, longest = bounds.cumulative, bounds.longest
        # These seven arguments stand in this order in every release so far; the further ones vary.
        attended: Tensor = varlen_attn(query, key, value, ends, ends, longest, longest)  # type: ignore[assignment]
        return attended

    return VarlenAttention("varlen_attn", attend, can_be_recorded=True)


def jagged_attention() -> VarlenAttention:
    """By SDPA over nested tensors: in any precision, and on every GPU that torch knows."""
    return VarlenAttention("sdpa_jagged", _attend_jagged)


def _attend_jagged(query: Tensor, key: Tensor, value: Tensor, bounds: Bounds) -> Tensor:
    # Nested tensors cannot be made of inference tensors, but of their copies out of inference mode.
    with torch.inference_mode(False), torch.no_grad():
        ends = bounds.cumulative.clone()
        q, k, v = (_jagged(part, ends, bounds.longest) for part in (query, key, value))
        packed: Tensor = scaled_dot_product_attention(q, k, v).transpose(1, 2).values()
        return packed


def _jagged(packed: Tensor, ends: Tensor, longest: int) -> Tensor:
    """[n_tokens, n_heads, head_dim] as [n_sequences, n_heads, n_tokens_i, head_dim]."""
    # With the lengths' limits given, torch does not have to wait for the GPU to tell them.
    values = packed.clone(memory_format=torch.contiguous_format)
    nested: Tensor = torch.nested.nested_tensor_from_jagged(values, ends, min_seqlen=1, max_seqlen=longest)
    return nested.transpose(1, 2)
