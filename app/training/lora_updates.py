"""What LoRA adapters add to the weights of a model: one adapter's, or two of them as one."""

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn.functional import pad

ADAPTER = "default"
"""peft's name for the only one."""
ADAPTER_PREFIX = "base_model.model."
"""Of the names of an adapter's weights, as peft writes them."""


@dataclass(frozen=True, slots=True)
class LoraUpdate:
    """An update of a layer's weight, float32: `up @ down` is added to it (Hu et al., arXiv:2106.09685)."""

    down: Tensor
    """[rank, n_inputs]: LoRA's A."""
    up: Tensor
    """[n_outputs, rank]: LoRA's B, times the scale of its adapter."""

    @classmethod
    def of(cls, down: Tensor, up: Tensor, scale: float) -> Self:
        """From an adapter's A and B, which may lie on any device in any precision."""
        return cls(down.detach().to("cpu", torch.float32), scale * up.detach().to("cpu", torch.float32))

    @property
    def rank(self) -> int:
        return len(self.down)

    def product(self) -> Tensor:
        """[n_outputs, n_inputs]."""
        return self.up @ self.down

    def padded(self, rank: int) -> "LoraUpdate":
        """The same of a higher rank, by zeros."""
        n_zeros = rank - self.rank
        return LoraUpdate(pad(self.down, (0, 0, 0, n_zeros)), pad(self.up, (0, n_zeros)))


Updates = Mapping[str, LoraUpdate]
"""By the name of the layer in its module."""


def trained_updates(module: nn.Module) -> Updates:
    """Of the layers in `module` that have an adapter's matrices."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    return {name: _update(layer) for name, layer in layers.items()}


def join(first: Updates, second: Updates) -> Updates:
    """Both as one, all of one rank: the sum of the products is the product of the matrices side by side."""
    layers = sorted({*first, *second})
    joined = {layer: _side_by_side([own[layer] for own in (first, second) if layer in own]) for layer in layers}
    rank = max(update.rank for update in joined.values())
    return {layer: update.padded(rank) for layer, update in joined.items()}


def adapter_weights(updates: Updates) -> dict[str, Tensor]:
    """As peft names them; the scale is 1, for it is in them already."""
    downs = {f"{ADAPTER_PREFIX}{layer}.lora_A.weight": update.down for layer, update in updates.items()}
    ups = {f"{ADAPTER_PREFIX}{layer}.lora_B.weight": update.up for layer, update in updates.items()}
    return downs | ups


def joined_config(config: LoraConfig, weights: Mapping[str, Tensor]) -> LoraConfig:
    """The newer adapter's configuration, made that of a joined one with these weights."""
    layers = sorted({name.removeprefix(ADAPTER_PREFIX).split(".lora_")[0] for name in weights})
    rank = max(len(weight) for name, weight in weights.items() if ".lora_A." in name)
    joined = copy(config)
    joined.r = joined.lora_alpha = rank
    joined.target_modules = _targets(config.target_modules, layers)
    return joined


def _update(layer: LoraLayer) -> LoraUpdate:
    down, up = (matrices[ADAPTER].weight for matrices in (layer.lora_A, layer.lora_B))
    return LoraUpdate.of(down, up, layer.scaling[ADAPTER])


def _side_by_side(updates: Sequence[LoraUpdate]) -> LoraUpdate:
    return LoraUpdate(
        torch.cat([update.down for update in updates]), torch.cat([update.up for update in updates], dim=1)
    )


def _targets(pattern: object, layers: Sequence[str]) -> str | list[str]:
    """The newer adapter's own regular expression if it finds all layers, else their names."""
    if isinstance(pattern, str) and all(re.fullmatch(pattern, layer) for layer in layers):
        return pattern
    return list(layers)
