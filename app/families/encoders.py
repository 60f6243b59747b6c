"""The ways to run a BERT-like encoder, and which of them suits a model on its device."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor

from app.core.errors import ModelLoadError
from app.families.adapter_files import INT8
from app.families.base import LoadOptions, Padding
from app.families.low_rank import Adapter
from app.families.onednn import pack_linears
from app.families.packed_encoder import PackedEncoder
from app.families.padded_encoder import PaddedEncoder
from app.families.torch_model import torch_dtype
from app.families.varlen_attention import choose_varlen_attention

GRAPH_RUNTIMES = {"openvino": ("float32",), "onnxruntime": ("float32", INT8)}
"""Backends that compute on a CPU what `encoder_graph.py` describes, and in which dtypes."""


class EncoderRunner(Protocol):
    """An encoder in the form in which it is computed."""

    backend: str
    attention: str
    padding: Padding

    @property
    def memory_bytes(self) -> int:
        """Bytes that it takes now."""

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text on the CPU, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim] float32.

        Result i belongs to text i and does not depend on the others.
        """

    def adapted(self, adapter: Adapter) -> "EncoderRunner":
        """The same encoder with a LoRA adapter, over the same weights; its `memory_bytes` are what the adapter adds.

        Names are those of the encoder that was opened. Raises `ModelLoadError`.
        """


def with_backend(options: LoadOptions, activation: str) -> LoadOptions:
    """The same with the fastest backend where none is asked for (docs/decisions/0013-openvino.md)."""
    if options.backend != "auto":
        return options
    fastest = ("openvino", "onnxruntime") if _openvino_is_faster() else ("onnxruntime",)
    can = (backend for backend in fastest if _computes(backend, options, activation))
    return replace(options, backend=next(can, "torch"))


def open_encoder(encoder: Any, options: LoadOptions) -> EncoderRunner:
    """Take over the weights of transformers' `BertModel` or `XLMRobertaModel`, which is on its device.

    `EncoderWeights` are enough for the `GRAPH_RUNTIMES`. Raises `ModelLoadError` for a backend or a dtype that this
    encoder or device has not.
    """
    activation = encoder.config.hidden_act
    options = with_backend(options, activation)
    if options.backend in GRAPH_RUNTIMES and _computes(options.backend, options, activation):
        return _open_graph(encoder, options)
    if options.backend in GRAPH_RUNTIMES or options.dtype == INT8:
        raise ModelLoadError(
            "OpenVINO (float32) and ONNX Runtime (float32, int8) are for text models on a CPU whose activation is "
            "GELU. Leave `backend` and `dtype` out for this one."
        )
    if options.device == "cpu":
        packed = PackedEncoder(encoder)
        pack_linears(encoder)
        return packed
    head_dim = encoder.config.hidden_size // encoder.config.num_attention_heads
    attention = choose_varlen_attention(options.device, torch_dtype(options.dtype), head_dim)
    return PackedEncoder(encoder, attention) if attention else PaddedEncoder(encoder)


def _computes(backend: str, options: LoadOptions, activation: str) -> bool:
    """True if this graph runtime does, with these options."""
    return options.device == "cpu" and options.dtype in GRAPH_RUNTIMES[backend] and activation == "gelu"


def _openvino_is_faster() -> bool:
    """Its kernels gain where there is AVX-512; it is not installed everywhere."""
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and find_spec("openvino") is not None


def _open_graph(encoder: Any, options: LoadOptions) -> EncoderRunner:
    # Imported only here: each takes a while, and a server with a GPU does without.
    if options.backend == "openvino":
        try:
            from app.families.openvino_encoder import OpenVinoEncoder
        except ImportError as error:
            raise ModelLoadError(
                f"OpenVINO cannot be imported here ({error}): `pip install openvino`, or choose another `backend`."
            ) from error
        return OpenVinoEncoder(encoder)
    from app.families.onnx_encoder import OnnxEncoder

    return OnnxEncoder(encoder, int8=options.dtype == INT8)
