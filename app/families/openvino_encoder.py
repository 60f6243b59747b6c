"""Runs a BERT-like encoder with OpenVINO on a CPU: docs/decisions/0013-openvino.md."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.core.processors import n_processors
from app.families.base import Padding
from app.families.encoder_graph import PackedTexts, hidden_states
from app.families.low_rank import Adapter, copy_sharing_weights
from app.families.openvino_graph import graph_inputs, model_of
from app.families.openvino_runtime import Core, InferRequest
from app.families.token_positions import padding_id
from app.families.torch_model import memory_bytes

if TYPE_CHECKING:
    from app.families.onnx_encoder import OnnxEncoder

SETTINGS = {
    "PERFORMANCE_HINT": "LATENCY",
    # All cores for one batch; a compiled model computes one at a time, so each thread that encodes has its own.
    "NUM_STREAMS": 1,
    # The cores are the whole server's.
    "ENABLE_CPU_PINNING": False,
}

PAD_TO = 16
"""Tokens; with fewer, results depend on the rest of the batch."""


class OpenVinoEncoder:
    """The forward pass of transformers' `BertModel` or `XLMRobertaModel`; only attention is padded.

    LoRA adapters over it are computed by ONNX Runtime, always in float32: OpenVINO computes a layer with what follows
    it in one go, which an addition in between would keep it from.
    """

    backend = "openvino"
    attention = "openvino"
    padding = Padding.ATTENTION

    def __init__(self, encoder: Any, *, bfloat16: bool = False) -> None:
        self._encoder = encoder
        self.dtype = "bfloat16" if bfloat16 else "float32"
        # Left to itself, it takes bfloat16 where the processor has it.
        self._precision = "bf16" if bfloat16 else "f32"
        self._padding_id = padding_id(encoder.config)
        float32_layers = memory_bytes(encoder.encoder)
        # The encoder stays, to make further layers of; if it is mapped, that takes no memory that is needed.
        self._kept = memory_bytes(encoder.embeddings) + (0 if getattr(encoder, "is_mapped", False) else float32_layers)
        self._layers = float32_layers // (2 if bfloat16 else 1)
        self._layers_for_adapters = float32_layers
        self._model = model_of(encoder)
        self._requests: list[InferRequest] = []
        """One for each thread that has computed while all others did."""
        self._idle: list[InferRequest] = []
        self._for_adapters: OnnxEncoder | None = None

    @property
    def memory_bytes(self) -> int:
        """With the layers once for each time that they have been laid out."""
        laid_out = self._layers * len(self._requests) + (self._layers_for_adapters if self._for_adapters else 0)
        return self._kept + max(self._layers, laid_out)

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim] float32."""
        return hidden_states(texts, self._padding_id, PAD_TO, self._compute)

    def adapted(self, adapter: Adapter) -> "OnnxEncoder":
        """All adapters are computed over the same weights. Raises `ModelLoadError`."""
        # Imported only here: it takes a while, and most servers have no adapters.
        from app.families.onnx_encoder import OnnxEncoder

        base = self._for_adapters or OnnxEncoder(copy_sharing_weights(self._encoder))
        adapted = base.adapted(adapter)
        self._for_adapters = base
        return adapted

    def _compute(self, texts: PackedTexts) -> NDArray[np.float32]:
        inputs = graph_inputs(texts)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled()
            self._requests.append(request)
        try:
            # Not `infer`: with a single core that loses errors, and leaves the result of the batch before.
            request.start_async(inputs, share_inputs=True)
            request.wait()
            hidden: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
        except Exception:
            # It is left with the shapes of this batch in some of its layers, and would fail again.
            self._requests.remove(request)
            raise
        self._idle.append(request)
        return hidden

    def _compiled(self) -> InferRequest:
        threads = n_processors()
        settings = {**SETTINGS, "INFERENCE_PRECISION_HINT": self._precision, "INFERENCE_NUM_THREADS": threads}
        return Core().compile_model(self._model, "CPU", settings).create_infer_request()
