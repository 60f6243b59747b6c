"""Import this before anything that imports torchvision.

torchvision's CUDA build registers kernels for operators that it defines only in its own compiled library, which the CPU
build of torch cannot load. With the operators defined first it imports, and its transforms work.
"""

import torch

LIBRARY = torch.library.Library("torchvision", "DEF")
for schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    LIBRARY.define(schema)
