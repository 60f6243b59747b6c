"""Exports the encoder of a checkpoint to `onnx/model.onnx` in its folder, where ONNX Runtime's users look for it.

    .venv-peers/bin/python -m benchmarks.peers.export_onnx <checkpoint> [int8]

With `int8` it also writes `onnx/model_int8.onnx`: ONNX Runtime's dynamic quantization, one scale a channel.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModel

INPUTS = ("input_ids", "attention_mask")


class Encoder(torch.nn.Module):
    """Ids and mask to the last hidden states, and nothing else."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(checkpoint, attn_implementation="sdpa").eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden


def export(checkpoint: Path) -> Path:
    """The exported encoder in float32; written only if it is not there yet."""
    file = checkpoint / "onnx" / "model.onnx"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        ids = torch.full((2, 16), 5)
        axes = {0: "batch", 1: "tokens"}
        torch.onnx.export(
            Encoder(checkpoint),
            (ids, torch.ones_like(ids)),
            str(file),
            input_names=list(INPUTS),
            output_names=["last_hidden_state"],
            dynamic_axes={**dict.fromkeys(INPUTS, axes), "last_hidden_state": axes},
            opset_version=17,
            dynamo=False,
        )
    return file


def quantize(checkpoint: Path) -> Path:
    """The exported encoder with int8 weights and activations that are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = checkpoint / "onnx" / "model_int8.onnx"
    if not file.exists():
        # reduce_range: without it AVX2 saturates when it adds two products of 8 bits, on processors without VNNI.
        quantize_dynamic(export(checkpoint), file, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    return file


if __name__ == "__main__":
    export(Path(sys.argv[1]))
    if "int8" in sys.argv[2:]:
        quantize(Path(sys.argv[1]))
