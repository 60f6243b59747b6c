"""OpenVINO's runtime without its converter, which would report every import to its makers over the network."""

import sys

# With nothing under its name OpenVINO does without it.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

from openvino import Core, InferRequest, Model, PartialShape, Type  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["Core", "InferRequest", "Model", "PartialShape", "Type", "ops"]
