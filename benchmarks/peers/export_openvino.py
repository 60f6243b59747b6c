"""Exports the encoder of a checkpoint for OpenVINO in int8, by NNCF, the tool that its makers have for it.

    .venv-peers/bin/python -m benchmarks.peers.export_openvino <checkpoint>

It writes `openvino/model_int8.xml`, whose weights are int8 and whose activations OpenVINO quantizes as they come, and
`openvino/model_static_int8.xml`, whose activations have scales that were found beforehand, on texts. Both begin with
what `export_onnx` writes.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.engines import open_tokenizer, openvino_core, padded
from benchmarks.peers.export_onnx import export
from benchmarks.texts import ragged_texts

CALIBRATION_TEXTS = 100


def compress_weights(checkpoint: Path) -> Path:
    """The encoder with int8 weights, one scale a channel; written only if it is not there yet."""
    return _written(checkpoint, "model_int8.xml", _compressed)


def quantize(checkpoint: Path, texts: Sequence[str]) -> Path:
    """The encoder with int8 weights and activations, whose scales are those of `texts`; likewise."""
    tokenizer = open_tokenizer(checkpoint)
    return _written(
        checkpoint,
        "model_static_int8.xml",
        lambda model: _calibrated(model, [padded([tokenizer.encode(text).ids]) for text in texts]),
    )


def _written(checkpoint: Path, name: str, change: Callable[[Any], Any]) -> Path:
    file = checkpoint / "openvino" / name
    if not file.exists():
        core = openvino_core()
        import openvino as ov

        ov.save_model(change(core.read_model(export(checkpoint))), file, compress_to_fp16=False)
    return file


def _compressed(model: Any) -> Any:
    nncf = _nncf()
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


def _calibrated(model: Any, inputs: list[dict[str, Any]]) -> Any:
    nncf = _nncf()
    return nncf.quantize(
        model,
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(inputs),
        # With the tables of embeddings in int8 OpenVINO cannot compile XLM-RoBERTa.
        ignored_scope=nncf.IgnoredScope(types=["Gather"]),
    )


def _nncf() -> Any:
    # Or else it reports every use over the network.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import nncf

    return nncf


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    compress_weights(folder)
    quantize(folder, [text.prefixed for text in ragged_texts(CALIBRATION_TEXTS, folder)])
