"""LoRA adapters beside their base: y = W x + scale * B (A x) (Hu et al., arXiv:2106.09685), without touching W."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from app.core.errors import ModelLoadError
from app.families.adapter_files import ADAPTER_CONFIG, LORA_WEIGHT
from app.families.base import LoadOptions
from app.families.files import read_json
from app.families.pretrained import read_adapter_weights, renamed
from app.families.torch_model import torch_dtype

DEFAULT_ALPHA = 8
"""peft's."""

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one linear layer."""

    down: Tensor
    """[rank, in_features]"""
    up: Tensor
    """[out_features, rank], the adapter's scale within it."""

    @property
    def nbytes(self) -> int:
        return self.down.nbytes + self.up.nbytes


Adapter = Mapping[str, LowRank]
"""By the name of the linear layer in the base's module."""


class LowRankLinear(nn.Module):
    """A linear layer of the base with what an adapter adds: [..., in_features] -> [..., out_features]."""

    def __init__(self, base: nn.Module, low_rank: LowRank) -> None:
        super().__init__()
        self.base = base
        self.out_features, self.in_features = len(low_rank.up), low_rank.down.shape[1]
        self.down = nn.Parameter(low_rank.down, requires_grad=False)
        self.up = nn.Parameter(low_rank.up, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        # The base may be wider than its checkpoint, with zeros behind (`qwen_vision.align_mlps`).
        y[..., : self.out_features] += linear(linear(x[..., : self.in_features], self.down), self.up)
        return y


def read_adapter(folder: Path, key_mapping: Mapping[str, str], options: LoadOptions) -> dict[str, LowRank]:
    """A plain adapter (`adapter_files.is_plain`) on the model's device; `key_mapping` is as in `load_pretrained`.

    Raises `ModelLoadError`.
    """
    settings = read_json(folder / ADAPTER_CONFIG)
    weights = read_adapter_weights(folder)
    parts = {
        (match["module"], match["part"]): weights[match[0]] for match in map(LORA_WEIGHT.fullmatch, weights) if match
    }
    dtype = torch_dtype(options.dtype)
    return {
        renamed(f"{name}.weight", key_mapping).removesuffix(".weight"): LowRank(
            parts[name, "A"].to(options.device, dtype),
            (parts[name, "B"].float() * _scale(settings, len(parts[name, "A"]))).to(options.device, dtype),
        )
        for name in dict.fromkeys(module for module, _ in parts)
    }


def require_fit(adapter: Adapter, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise `ModelLoadError` unless the adapter's layers are among `shapes`: (out_features, in_features) by name."""
    for name, low_rank in adapter.items():
        if shapes.get(name) != (len(low_rank.up), low_rank.down.shape[1]):
            raise ModelLoadError(f"The adapter's weights do not fit its base: it has no such linear layer as {name}.")


def with_adapter(module: AnyModule, adapter: Adapter) -> AnyModule:
    """A copy that shares all weights with `module` and computes with the adapter. Raises `ModelLoadError`."""
    layers = {name: layer for name, layer in module.named_modules() if hasattr(layer, "in_features")}
    require_fit(adapter, {name: (layer.out_features, layer.in_features) for name, layer in layers.items()})
    adapted = copy_sharing_weights(module)
    for name, low_rank in adapter.items():
        adapted.set_submodule(name, LowRankLinear(adapted.get_submodule(name), low_rank))
    return adapted


def copy_sharing_weights(module: AnyModule) -> AnyModule:
    """Modules of its own, which may be changed and replaced, around the same parameters and buffers."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())})


def joined(parts: Sequence[LowRank | None]) -> LowRank:
    """For one layer that computes several of one shape, behind each other; None: nothing is added to that one."""
    adapted = next(part for part in parts if part is not None)
    # Of rank 0.
    nothing = LowRank(adapted.down[:0], adapted.up[:, :0])
    each = [part or nothing for part in parts]
    up: Tensor = torch.block_diag(*(part.up for part in each))  # type: ignore[no-untyped-call]
    return LowRank(torch.cat([part.down for part in each]), up)


def memory_of(adapter: Adapter) -> int:
    """Bytes"""
    return sum(low_rank.nbytes for low_rank in adapter.values())


def _scale(settings: Mapping[str, float], rank: int) -> float:
    divisor = math.sqrt(rank) if settings.get("use_rslora") else rank
    return settings.get("lora_alpha", DEFAULT_ALPHA) / divisor
