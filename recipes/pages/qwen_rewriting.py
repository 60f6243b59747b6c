"""Qwen2-VL's vision tower rewritten as Qwen2.5-VL's, which computes the same function.

Where they differ:

- RMSNorm is LayerNorm for inputs whose mean is 0. The mean of the residual stream never matters to a LayerNorm, so
  every matrix that adds to the stream can be changed to add nothing to the mean. A LayerNorm's bias moves into the
  matrices that read it.
- A gated layer silu(g(x)) * u(x) is Qwen2-VL's quick GELU z * sigmoid(1.702 z) with g = 1.702 z and u = 1 / 1.702.
- Windows: the tower sees the whole page in every layer that `fullatt_block_indexes` names.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

QUICK_GELU = 1.702


def qwen2_5_vision(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Weights of Qwen2-VL's tower by name -> those of Qwen2.5-VL's tower."""
    new = {"patch_embed.proj.weight": _centred(weights["patch_embed.proj.weight"])}
    for index in range(depth):
        new |= _block(weights, f"blocks.{index}.")
    new["merger.ln_q.weight"] = weights["merger.ln_q.weight"]
    first = weights["merger.mlp.0.weight"]
    shift = weights["merger.ln_q.bias"].repeat(first.shape[1] // len(weights["merger.ln_q.bias"]))
    new["merger.mlp.0.weight"] = first
    new["merger.mlp.0.bias"] = weights["merger.mlp.0.bias"] + first @ shift
    for name in ("merger.mlp.2.weight", "merger.mlp.2.bias"):
        new[name] = weights[name]
    return new


def _block(weights: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    old = {name.removeprefix(block): weight for name, weight in weights.items() if name.startswith(block)}
    inner = old["mlp.fc1.weight"]
    inner_bias = old["mlp.fc1.bias"] + inner @ old["norm2.bias"]
    new = {
        "norm1.weight": old["norm1.weight"],
        "norm2.weight": old["norm2.weight"],
        "attn.qkv.weight": old["attn.qkv.weight"],
        "attn.qkv.bias": old["attn.qkv.bias"] + old["attn.qkv.weight"] @ old["norm1.bias"],
        "attn.proj.weight": _centred(old["attn.proj.weight"]),
        "attn.proj.bias": _centred(old["attn.proj.bias"]),
        "mlp.gate_proj.weight": QUICK_GELU * inner,
        "mlp.gate_proj.bias": QUICK_GELU * inner_bias,
        "mlp.up_proj.weight": torch.zeros_like(inner),
        "mlp.up_proj.bias": torch.full_like(inner_bias, 1 / QUICK_GELU),
        "mlp.down_proj.weight": _centred(old["mlp.fc2.weight"]),
        "mlp.down_proj.bias": _centred(old["mlp.fc2.bias"]),
    }
    return {block + name: weight for name, weight in new.items()}


def _centred(weight: Tensor) -> Tensor:
    """What it writes has the mean 0 over the features, its first axis."""
    return weight - weight.mean(dim=0, keepdim=True)
