"""The forward pass of a BERT-like encoder as an ONNX graph over packed texts.

All tokens of a batch lie behind each other in one [n_tokens, dim] matrix, and only attention gathers them into
[n_texts, longest, dim]: linear layers, nine tenths of the work, compute no padding. The weights stay outside the graph.
Operators beyond ONNX's own are ONNX Runtime's, documented in its `docs/ContribOperators.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET, CONTRIB = 17, "com.microsoft"

IDS, POSITIONS, ROWS, PLACES, MASK, LONG = "ids", "positions", "rows", "places", "mask", "long"
"""Inputs: ids and positions [n_tokens]; `rows` [n_texts, longest], the token at each place of the padded batch, and
`mask`, 1 where there is one (int32); `places` [n_tokens], where in the padded batch each token is; `long`, true for one
long text that is alone. Indices are int64."""
HIDDEN = "hidden"
"""Output: [n_tokens, dim] float32."""

INT8_WEIGHTS, INT8_TOKENS = 63, 127
"""Steps to each side of zero. Weights keep to 7 bits: processors without VNNI add two products of 8 bits in 16 bits."""
TINY = 1e-12


@dataclass(slots=True)
class EncoderGraph:
    """A graph that is being built: its nodes, and its weights by name."""

    int8: bool = False
    """Linear layers multiply in int8: weights scaled by output, activations by token, so that no token depends on
    the others of its batch."""
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Small arrays that stand in the graph itself."""
    _quantized: dict[str, tuple[str, str]] = field(default_factory=dict)

    def model(self) -> ModelProto:
        """The finished graph without its weights, which are marked as external."""
        inputs = [
            helper.make_tensor_value_info(IDS, TensorProto.INT64, ["n_tokens"]),
            helper.make_tensor_value_info(POSITIONS, TensorProto.INT64, ["n_tokens"]),
            helper.make_tensor_value_info(ROWS, TensorProto.INT64, ["n_texts", "longest"]),
            helper.make_tensor_value_info(PLACES, TensorProto.INT64, ["n_tokens"]),
            helper.make_tensor_value_info(MASK, TensorProto.INT32, ["n_texts", "longest"]),
            helper.make_tensor_value_info(LONG, TensorProto.BOOL, []),
        ]
        output = helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, ["n_tokens", None])
        arrays = [_external(name, array) for name, array in self.weights.items()]
        arrays += [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "encoder", inputs, [output], arrays)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def weight(self, name: str, values: Tensor) -> str:
        """Add an array; its values are not copied."""
        self.weights[name] = values.detach().numpy()
        return name

    def constant(self, name: str, value: Any, dtype: DTypeLike = np.float32) -> str:
        """Add a small array; one name always stands for the same."""
        self.constants[name] = np.array(value, dtype)
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output; returns the output's name."""
        name = f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        """[n, in_features] -> [n, out_features]"""
        bias = self.weight(f"{name}.bias", layer.bias)
        if not self.int8:
            return self.op("Gemm", x, self.weight(f"{name}.weight", layer.weight), bias, transB=1)
        scales = layer.weight.abs().amax(dim=1).clamp(min=TINY) / INT8_WEIGHTS
        steps = (layer.weight / scales[:, None]).round().char().T.contiguous()
        weight, by_output = self.weight(f"{name}.weight", steps), self.weight(f"{name}.scales", scales)
        tokens, by_token = self.quantized(x)
        product = self.op("MatMulIntegerToFloat", tokens, weight, self._one(), by_output, self._zero(), domain=CONTRIB)
        return self.op("Add", self.op("Mul", product, by_token), bias)

    def quantized(self, x: str) -> tuple[str, str]:
        """[n, width] as uint8 around 128, and the scale of each row: [n, 1]. Computed once for every `x`."""
        if x not in self._quantized:
            largest = self.op("ReduceMax", self.op("Abs", x), axes=[-1], keepdims=1)
            scales = self.op("Mul", largest, self.constant("token_step", 1 / INT8_TOKENS))
            scales = self.op("Max", scales, self.constant("tiny", TINY))
            steps = self.op("QuantizeLinear", self.op("Div", x, scales), self._one(), self._zero())
            self._quantized[x] = steps, scales
        return self._quantized[x]

    def layer_norm(self, x: str, layer: nn.LayerNorm, name: str) -> str:
        """[n, dim] -> the same"""
        weight, bias = self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)

    def attention(self, query: str, key: str, value: str, n_heads: int) -> str:
        """Self-attention within each text: [n_texts, longest, dim] -> the same.

        Without a mask ONNX Runtime computes it in tiles: a long text does not take the square of its length in memory.
        """
        without_mask = _attention_branch("attended.long", (query, key, value), n_heads)
        with_mask = _attention_branch("attended.together", (query, key, value, "", MASK), n_heads)
        return self.op("If", LONG, then_branch=without_mask, else_branch=with_mask)

    def _one(self) -> str:
        return self.constant("one", 1)

    def _zero(self) -> str:
        return self.constant("int8_zero", 128, np.uint8)


def encoder_graph(encoder: Any, *, int8: bool = False) -> EncoderGraph:
    """The graph of transformers' `BertModel` or `XLMRobertaModel` with the exact GELU, in float32.

    Its weights are the encoder's own memory, except for linear layers in int8.
    """
    graph = EncoderGraph(int8)
    dim = encoder.config.hidden_size
    hidden = _embeddings(graph, encoder.embeddings)
    flat = graph.constant("flat", [-1, dim], np.int64)
    for number, layer in enumerate(encoder.encoder.layer):
        hidden = _layer(graph, layer, f"layer.{number}", hidden, flat)
    graph.nodes[-1].output[0] = HIDDEN
    return graph


def _embeddings(graph: EncoderGraph, embeddings: Any) -> str:
    words = graph.op("Gather", graph.weight("words", embeddings.word_embeddings.weight), IDS)
    positions = graph.op("Gather", graph.weight("positions.weight", embeddings.position_embeddings.weight), POSITIONS)
    first_type = graph.weight("types", embeddings.token_type_embeddings.weight[0])
    added = graph.op("Add", graph.op("Add", words, first_type), positions)
    return graph.layer_norm(added, embeddings.LayerNorm, "embeddings.norm")


def _layer(graph: EncoderGraph, layer: Any, name: str, hidden: str, flat: str) -> str:
    attention = layer.attention.self
    query, key, value = (
        graph.op("Gather", graph.linear(hidden, getattr(attention, part), f"{name}.{part}"), ROWS)
        for part in ("query", "key", "value")
    )
    padded = graph.attention(query, key, value, attention.num_attention_heads)
    attended = graph.op("Gather", graph.op("Reshape", padded, flat), PLACES)
    attended = graph.linear(attended, layer.attention.output.dense, f"{name}.attended")
    hidden = graph.layer_norm(
        graph.op("Add", attended, hidden), layer.attention.output.LayerNorm, f"{name}.attended.norm"
    )
    inner = graph.op("Gelu", graph.linear(hidden, layer.intermediate.dense, f"{name}.inner"), domain=CONTRIB)
    outer = graph.linear(inner, layer.output.dense, f"{name}.outer")
    return graph.layer_norm(graph.op("Add", outer, hidden), layer.output.LayerNorm, f"{name}.norm")


def _attention_branch(name: str, inputs: Sequence[str], n_heads: int) -> GraphProto:
    node = helper.make_node("MultiHeadAttention", list(inputs), [name], domain=CONTRIB, num_heads=n_heads)
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n_texts", "longest", None])
    return helper.make_graph([node], name, [], [output])


def _external(name: str, array: NDArray[Any]) -> TensorProto:
    """An initializer whose values are handed to the session beside the graph."""
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "memory", "offset": "0", "length": str(array.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
