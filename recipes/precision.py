"""What this machine multiplies fast."""

from functools import cache

import torch


@cache
def fast_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16: several times as fast as in float32, and exact enough to train."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
