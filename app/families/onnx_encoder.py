"""Runs a BERT-like encoder with ONNX Runtime on a CPU: docs/decisions/0009-onnx-runtime.md."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from torch import Tensor

from app.core.processors import n_processors
from app.families.base import Padding
from app.families.encoder_graph import PackedTexts, hidden_states
from app.families.low_rank import Adapter, require_fit
from app.families.onnx_graph import HIDDEN, OnnxGraph, adapter_inputs, graph_inputs, graph_of
from app.families.token_positions import padding_id

PAD_TO = 32
"""Tokens; with fewer, results depend on the rest of the batch."""

ERRORS_ONLY = 3
"""Of ONNX Runtime's levels of logging."""


class OnnxEncoder:
    """The forward pass of transformers' `BertModel` or `XLMRobertaModel`; only attention is padded.

    It takes the encoder's weights over and leaves it without any.
    """

    backend = "onnxruntime"
    attention = "onnxruntime"
    padding = Padding.ATTENTION

    def __init__(self, encoder: Any, *, int8: bool = False) -> None:
        self.dtype = "int8" if int8 else "float32"
        self._padding_id = padding_id(encoder.config)
        graph = graph_of(encoder, int8=int8)
        self.memory_bytes = sum(array.nbytes for array in graph.weights.values())
        self._session = _session(graph)
        self._adaptable = graph.adaptable
        self._adapter: dict[str, NDArray[Any]] = {}
        encoder.to("meta")

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim] float32."""
        return hidden_states(texts, self._padding_id, PAD_TO, self._compute)

    def adapted(self, adapter: Adapter) -> Self:
        """The same session, which gets the adapter's weights with each batch. Raises `ModelLoadError`."""
        require_fit(adapter, self._adaptable)
        runner = copy.copy(self)
        runner._adapter = {
            name: array
            for layer, low_rank in adapter.items()
            for name, array in adapter_inputs(layer, low_rank).items()
        }
        runner.memory_bytes = sum(array.nbytes for array in runner._adapter.values())
        return runner

    def _compute(self, texts: PackedTexts) -> NDArray[np.float32]:
        try:
            (hidden,) = self._session.run([HIDDEN], graph_inputs(texts) | self._adapter)
        except (Fail, RuntimeException) as error:
            # Theirs are no RuntimeErrors; a failed allocation is told from the rest by its words, as torch's is.
            raise RuntimeError(f"ONNX Runtime: {error}") from error
        return hidden  # type: ignore[no-any-return]


def _session(graph: OnnxGraph) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_processors()
    # A pattern is kept for every shape of input that has been seen: memory that grows with the variety of texts.
    options.enable_mem_pattern = False
    # It warns of every default value, which the adapters' inputs have.
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait for the next batch would keep the cores from the rest of the server.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.weights.values()]
    options.add_external_initializers(list(graph.weights), values)
    model = graph.model().SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
