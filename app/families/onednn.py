"""Linear layers on a CPU through oneDNN, with weights laid out beforehand for the processor's matrix kernels.

torch itself multiplies float32 matrices on x86 with MKL, which on processors of other makers than Intel does not use
their widest instructions: see docs/decisions/0007-visual-pipeline.md. The two operators are those of torch's inductor.
"""

import os
import platform
from typing import TypeGuard

import torch
from torch import Tensor, nn

# Of every number of rows that it meets oneDNN keeps machine code: 1,024 pieces unless it is told otherwise before its
# first, some 300 MB. Fewer cost nothing that could be measured (docs/decisions/0007-visual-pipeline.md).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


class OneDnnLinear(nn.Module):
    """`nn.Linear` for inference in float32: [..., in_features] -> [..., out_features]."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "none")
        return y


def pack_linears(module: nn.Module) -> None:
    """Replace every `nn.Linear` within `module` by a `OneDnnLinear`, if it computes in float32 on an x86 processor.

    To be done last: the packed weights can be neither moved nor saved nor trained.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if can_pack(child):
                setattr(parent, name, OneDnnLinear(child))


def can_pack(module: nn.Module) -> TypeGuard[nn.Linear]:
    """True for an `nn.Linear` that computes in float32 on an x86 processor."""
    return (
        type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
        and platform.machine().lower() in ("x86_64", "amd64")
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    )
