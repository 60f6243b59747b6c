"""Import this before anything that imports torchvision.

torchvision's CUDA build registers kernels for operators that it defines only in its own compiled library, which the CPU
build of torch cannot load. With the operators defined first it imports, and its transforms work. Beside torch's CUDA
build, which some package indexes give, it loads and defines them itself.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def has_operators() -> bool:
    """True if torchvision's own library can be loaded; it is, then."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        return False
    return True


if not has_operators():
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        LIBRARY.define(schema)
