"""The ways to run a BERT-like encoder, and which of them suits a model on its device."""

from collections.abc import Sequence
from typing import Any, Protocol, Self

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


class EncoderRunner(Protocol):
    """An encoder in the form in which it is computed."""

    backend: str
    attention: str
    padding: Padding
    memory_bytes: int

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text on the CPU, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim] float32.

        Result i belongs to text i and does not depend on the others.
        """

    def adapted(self, adapter: Adapter) -> Self:
        """The same encoder with a LoRA adapter, over the same weights; its `memory_bytes` are what the adapter adds.

        Names are those of the encoder that was opened. Raises `ModelLoadError`.
        """


def runs_on_onnx(options: LoadOptions, activation: str) -> bool:
    """True for what ONNX Runtime computes, unless another backend is asked for."""
    can = options.device == "cpu" and options.dtype in ("float32", INT8) and activation == "gelu"
    return can and options.backend != "torch"


def open_encoder(encoder: Any, options: LoadOptions) -> EncoderRunner:
    """Take over the weights of transformers' `BertModel` or `XLMRobertaModel`, which is on its device.

    `EncoderWeights` are enough for ONNX Runtime.

    On a CPU ONNX Runtime is the fastest (docs/decisions/0009-onnx-runtime.md). Raises `ModelLoadError` for a backend
    or a dtype that this encoder or device has not.
    """
    on_cpu = options.device == "cpu"
    if runs_on_onnx(options, encoder.config.hidden_act):
        # Imported only here: it takes a while, and a server with a GPU does without.
        from app.families.onnx_encoder import OnnxEncoder

        return OnnxEncoder(encoder, int8=options.dtype == INT8)
    if options.dtype == INT8 or options.backend == "onnxruntime":
        raise ModelLoadError(
            'ONNX Runtime and int8 are for text models on a CPU (`device = "cpu"`, dtype float32 or int8) '
            "whose activation is GELU. Leave `backend` and `dtype` out for this one."
        )
    if on_cpu:
        packed = PackedEncoder(encoder)
        pack_linears(encoder)
        return packed
    head_dim = encoder.config.hidden_size // encoder.config.num_attention_heads
    attention = choose_varlen_attention(options.device, torch_dtype(options.dtype), head_dim)
    return PackedEncoder(encoder, attention) if attention else PaddedEncoder(encoder)
