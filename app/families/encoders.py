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

BFLOAT16 = "bfloat16"

GRAPH_RUNTIMES = {"openvino": ("float32", BFLOAT16), "onnxruntime": ("float32", INT8)}
"""Backends that compute on a CPU what `encoder_graph.py` describes, and in which dtypes."""


class EncoderRunner(Protocol):
    """An encoder in the form in which it is computed."""

    backend: str
    attention: str
    dtype: str
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
    """The same with the fastest backend where none is asked for (docs/decisions/0013-openvino.md).

    Raises `ModelLoadError` for a backend or a dtype that an encoder with this activation or the device has not.
    """
    if options.backend == "auto":
        fastest = ("openvino", "onnxruntime") if _openvino_is_faster() else ("onnxruntime",)
        can = (backend for backend in fastest if _computes(backend, options, activation))
        options = replace(options, backend=next(can, "torch"))
    if not _computes(options.backend, options, activation):
        raise ModelLoadError(
            "OpenVINO (float32, bfloat16 where the processor has it) and ONNX Runtime (float32, int8) are for text "
            "models on a CPU whose activation is GELU. Leave `backend` and `dtype` out for this one."
        )
    return options


def open_encoder(encoder: Any, options: LoadOptions) -> EncoderRunner:
    """Take over the weights of transformers' `BertModel` or `XLMRobertaModel`, which is on its device.

    `options` are what `with_backend` made of them; `EncoderWeights` are enough for the `GRAPH_RUNTIMES`. Raises
    `ModelLoadError`.
    """
    if options.backend in GRAPH_RUNTIMES:
        return _open_graph(encoder, options)
    if options.device == "cpu":
        packed = PackedEncoder(encoder)
        pack_linears(encoder)
        return packed
    head_dim = encoder.config.hidden_size // encoder.config.num_attention_heads
    attention = choose_varlen_attention(options.device, torch_dtype(options.dtype), head_dim)
    return PackedEncoder(encoder, attention) if attention else PaddedEncoder(encoder)


def multiplies_bfloat16() -> bool:
    """True if the processor does. Where it does not, OpenVINO takes thirty times as long as in float32."""
    return _has_avx512() and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def _computes(backend: str, options: LoadOptions, activation: str) -> bool:
    """True if this backend does, with these options."""
    if backend == "torch":
        return options.dtype != INT8
    can = options.dtype in GRAPH_RUNTIMES[backend] and (options.dtype != BFLOAT16 or multiplies_bfloat16())
    return can and options.device == "cpu" and activation == "gelu"


def _openvino_is_faster() -> bool:
    """Its kernels gain where there is AVX-512; it is not installed everywhere."""
    return _has_avx512() and find_spec("openvino") is not None


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _open_graph(encoder: Any, options: LoadOptions) -> EncoderRunner:
    # Imported only here: each takes a while, and a server with a GPU does without.
    if options.backend == "openvino":
        try:
            from app.families.openvino_encoder import OpenVinoEncoder
        except ImportError as error:
            raise ModelLoadError(
                f"OpenVINO cannot be imported here ({error}): `pip install openvino`, or choose another `backend`."
            ) from error
        return OpenVinoEncoder(encoder, bfloat16=options.dtype == BFLOAT16)
    from app.families.onnx_encoder import OnnxEncoder

    return OnnxEncoder(encoder, int8=options.dtype == INT8)
