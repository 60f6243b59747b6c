"""Qwen's vision tower on a GPU: the windows of all pages in one call, and fewer passes over memory between products.

transformers is the reference. With SDPA it calls attention once a window: tens of thousands of launches a batch.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad, rms_norm
from transformers.activations import SiLUActivation
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids, get_vision_window_index

from app.families.fused import rotated, silu_product
from app.families.torch_model import to_device
from app.families.varlen_attention import Bounds, VarlenAttention

ALIGNMENT = 8
"""Numbers in half precision that fast matrix kernels read at once."""


class VisionAttention(nn.Module):
    """The attention of one block, over packed sequences of patches: windows or whole pages."""

    def __init__(self, attention: Any, varlen: VarlenAttention) -> None:
        """`attention` is transformers' module, whose layers it takes over."""
        super().__init__()
        self.qkv, self.proj = attention.qkv, attention.proj
        self._n_heads: int = attention.num_heads
        self._varlen = varlen

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        position_embeddings: tuple[Tensor, Tensor],
        **_: Any,
    ) -> Tensor:
        """[n_patches, hidden] -> the same; the rest is what `tower_inputs` counted. The names are transformers'."""
        n_patches = len(hidden_states)
        heads = self.qkv(hidden_states).view(n_patches, 3, self._n_heads, -1)
        query, key = rotated(heads[:, :2], *position_embeddings).unbind(1)
        attended = self._varlen(query, key, heads[:, 2], Bounds(cu_seqlens, max_seqlen))
        projected: Tensor = self.proj(attended.reshape(n_patches, -1))
        return projected


class GatedMlp(nn.Module):
    """The feed-forward part of a block: down(silu(gate(x)) * up(x)), with one pass between the products."""

    def __init__(self, mlp: Any) -> None:
        """`mlp` is transformers' module, whose layers it takes over."""
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        projected: Tensor = self.down_proj(silu_product(gate.flatten(0, -2), up.flatten(0, -2)).view(gate.shape))
        return projected


class FusedRmsNorm(nn.Module):
    """Root mean square normalization in one pass, computed in float32; transformers makes seven of it."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight = norm.weight
        self._epsilon: float = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight.shape, self.weight, self._epsilon)


def tower_inputs(config: Any, grid_thw: Tensor, device: str) -> dict[str, Any]:
    """The keywords by which a vision tower takes what it would count on the device itself.

    `grid_thw` [n_pages, 3] int64 on the CPU: patches in time, height and width. Tensors on the device: positions
    [n_patches, 2], ends of pages [n_pages + 1] and windows [n_windows + 1], windows' order [n_patches / merge_size**2].
    """
    counted = {
        "position_ids": get_vision_position_ids(grid_thw, config.spatial_merge_size),
        "cu_seqlens": get_vision_cu_seqlens(grid_thw),
    }
    # Which kernels ask for, and which the tower would learn from the GPU.
    longest = {"max_seqlen": int(counted["cu_seqlens"].diff().max())}
    if hasattr(config, "window_size"):
        counted["window_index"], counted["cu_window_seqlens"] = get_vision_window_index(
            grid_thw, config.spatial_merge_size, config.window_size, config.patch_size
        )
        longest["max_window_seqlen"] = int(counted["cu_window_seqlens"].diff().max())
    return longest | {name: to_device(tensor, device) for name, tensor in counted.items()}


def use_varlen_attention(visual: Any, varlen: VarlenAttention) -> None:
    """Put a `VisionAttention` into every block of a vision tower."""
    for block in visual.blocks:
        block.attn = VisionAttention(block.attn, varlen)


def fuse_passes(module: nn.Module) -> None:
    """Replace every normalization and feed-forward part of Qwen's kind within `module` by one of fewer passes."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                setattr(parent, name, FusedRmsNorm(child))
            elif hasattr(child, "gate_proj") and isinstance(child.act_fn, nn.SiLU | SiLUActivation):
                setattr(parent, name, GatedMlp(child))


def align_mlps(visual: Any) -> None:
    """Widen what lies between the products of each block with zeros to a multiple of `ALIGNMENT`.

    Qwen2.5-VL's 3,420 is none, for which there are kernels of a third of the speed only. Zeros stay zeros through the
    activation and add nothing to the result. The layers keep the `in_features` and `out_features` of their checkpoint.
    """
    for block in visual.blocks:
        if hasattr(block.mlp, "gate_proj"):
            extra = -block.mlp.down_proj.in_features % ALIGNMENT
            for linear in (block.mlp.gate_proj, block.mlp.up_proj):
                _widen(linear, rows=extra)
            _widen(block.mlp.down_proj, columns=extra)


def _widen(linear: nn.Linear, rows: int = 0, columns: int = 0) -> None:
    """Add zeros behind the weights [out_features, in_features] and the bias."""
    linear.weight = nn.Parameter(pad(linear.weight.detach(), (0, columns, 0, rows)), requires_grad=False)
    if linear.bias is not None:
        linear.bias = nn.Parameter(pad(linear.bias.detach(), (0, rows)), requires_grad=False)
