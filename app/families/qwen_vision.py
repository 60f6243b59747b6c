"""Qwen's vision tower on a GPU: the windows of all pages in one call, and fewer passes over memory between products.

transformers is the reference. With SDPA it calls attention once a window: tens of thousands of launches a batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from app.families.varlen_attention import Bounds, VarlenAttention


class VisionAttention(nn.Module):
    """The attention of one block, over packed sequences of patches: windows or whole pages."""

    def __init__(self, attention: Any, varlen: VarlenAttention, longest: int) -> None:
        """`attention` is transformers' module, whose layers it takes over; no sequence is longer than `longest`."""
        super().__init__()
        self.qkv, self.proj = attention.qkv, attention.proj
        self._n_heads: int = attention.num_heads
        self._varlen = varlen
        self._longest = longest

    def forward(
        self, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings: tuple[Tensor, Tensor], **_: Any
    ) -> Tensor:
        """[n_patches, hidden] -> the same; `cu_seqlens` as in `Bounds`. The names are those of transformers."""
        n_patches = len(hidden_states)
        heads = self.qkv(hidden_states).view(n_patches, 3, self._n_heads, -1)
        query, key = rotated(heads[:, :2], *position_embeddings).unbind(1)
        # Telling how long the longest one truly is would mean to wait for the GPU in every block.
        bounds = Bounds(cu_seqlens.int(), min(self._longest, n_patches))
        attended = self._varlen(query, key, heads[:, 2], bounds)
        projected: Tensor = self.proj(attended.reshape(n_patches, -1))
        return projected


class FusedRmsNorm(nn.Module):
    """Root mean square normalization in one pass, computed in float32; transformers makes seven of it."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self._epsilon: float = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight.shape, self.weight, self._epsilon)


def use_varlen_attention(visual: Any, varlen: VarlenAttention, most_patches: int) -> None:
    """Put a `VisionAttention` into every block of a vision tower that gets pages of up to `most_patches`."""
    for block, longest in zip(visual.blocks, longest_sequences(visual.config, most_patches), strict=True):
        block.attn = VisionAttention(block.attn, varlen, longest)


def longest_sequences(config: Any, most_patches: int) -> list[int]:
    """For each block: patches that see one another at most. Qwen2-VL has no windows."""
    whole_pages = getattr(config, "fullatt_block_indexes", range(config.depth))
    merge = config.spatial_merge_size
    side = getattr(config, "window_size", 0) // merge // config.patch_size * merge
    return [most_patches if index in whole_pages else side**2 for index in range(config.depth)]


def fuse_rms_norms(module: nn.Module) -> None:
    """Replace every normalization of Qwen's kind within `module` by a `FusedRmsNorm`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                setattr(parent, name, FusedRmsNorm(child))


def rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: [n_tokens, n, n_heads, head_dim] to the same, computed in float32, rounded once.

    `cos` and `sin` are [n_tokens, head_dim], and their second halves equal the first.
    """
    half = heads.shape[-1] // 2
    cos, sin = (part[:, None, None, :half].float() for part in (cos, sin))
    first, second = heads[..., :half], heads[..., half:]
    result = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
    torch.addcmul(first * cos, second, sin, value=-1, out=result[..., :half])
    torch.addcmul(second * cos, first, sin, out=result[..., half:])
    return result
