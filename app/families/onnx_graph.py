"""The forward pass of a BERT-like encoder as an ONNX graph, whose weights stay outside of it.

Operators beyond ONNX's own are ONNX Runtime's, documented in its `docs/ContribOperators.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

from app.families.encoder_graph import Graph, PackedTexts, build_encoder
from app.families.low_rank import LowRank

OPSET, CONTRIB = 17, "com.microsoft"

IDS, POSITIONS, ROWS, PLACES, MASK, LONG = "ids", "positions", "rows", "places", "mask", "long"
"""Inputs: those of `PackedTexts`, the mask as int32, and whether it is one long text."""
HIDDEN = "hidden"
"""Output: [n_tokens, dim] float32."""
DOWN, UP, IS_ADAPTED = ".down", ".up", ".is_adapted"
"""Behind a linear layer's name: inputs for a LoRA adapter, [n_groups, in_features, RANK_GROUP] and [rank,
out_features], and whether there is one. They may be left out."""
RANK_GROUP = 16

INT8_STEPS, INT7_STEPS = 127, 63
"""Steps to each side of zero, in 8 and in 7 bits."""
TINY = 1e-12


@dataclass(slots=True)
class OnnxGraph(Graph[str]):
    """A graph that is being built, by the names of what its nodes give, and its weights by name."""

    int8: bool = False
    """Linear layers multiply in int8: weights scaled by output, activations by token, so that no token depends on
    the others of its batch."""
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Small arrays that stand in the graph itself."""
    adaptable: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Linear layers that LoRA adapters can be put on while it runs: (out_features, in_features) by name."""
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
        no_adapter = [array for name, shape in self.adaptable.items() for array in _no_adapter(name, *shape)]
        inputs += [_input_with_default(array) for array in no_adapter]
        arrays = [_external(name, array) for name, array in self.weights.items()]
        arrays += [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        arrays += no_adapter
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

    def lookup_ids(self, table: Tensor) -> str:
        return self.op("Gather", self.weight("words", table), IDS)

    def lookup_positions(self, table: Tensor) -> str:
        return self.op("Gather", self.weight("positions.weight", table), POSITIONS)

    def add(self, a: str, b: str | Tensor) -> str:
        return self.op("Add", a, b if isinstance(b, str) else self.weight(f"row.{len(self.nodes)}", b))

    def gelu(self, x: str) -> str:
        return self.op("Gelu", x, domain=CONTRIB)

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        bias = self.weight(f"{name}.bias", layer.bias)
        if not self.int8:
            weight = self.weight(f"{name}.weight", layer.weight)
            self.adaptable[name] = layer.out_features, layer.in_features
            return self.op("Gemm", x, weight, self._bias_or_adapter(x, bias, name), transB=1)
        scales = layer.weight.abs().amax(dim=1).clamp(min=TINY) / (INT8_STEPS if multiplies_int8() else INT7_STEPS)
        steps = (layer.weight / scales[:, None]).round().char().T.contiguous()
        weight, by_output = self.weight(f"{name}.weight", steps), self.weight(f"{name}.scales", scales)
        tokens, by_token = self.quantized(x)
        product = self.op("MatMulIntegerToFloat", tokens, weight, self._one(), by_output, self._zero(), domain=CONTRIB)
        return self.op("Add", self.op("Mul", product, by_token), bias)

    def _bias_or_adapter(self, x: str, bias: str, name: str) -> str:
        """What a product of `x` is added to: [out_features], or with an adapter [n, out_features]."""
        without = _branch(f"{name}.plain", [helper.make_node("Identity", [bias], [f"{name}.plain"])])
        with_adapter = _branch(
            f"{name}.adapted",
            [
                helper.make_node("MatMul", [x, name + DOWN], [f"{name}.groups"]),
                helper.make_node("Transpose", [f"{name}.groups"], [f"{name}.by_token"], perm=[1, 0, 2]),
                helper.make_node("Flatten", [f"{name}.by_token"], [f"{name}.low"], axis=1),
                helper.make_node("Gemm", [f"{name}.low", name + UP, bias], [f"{name}.adapted"]),
            ],
        )
        return self.op("If", name + IS_ADAPTED, then_branch=with_adapter, else_branch=without)

    def quantized(self, x: str) -> tuple[str, str]:
        """[n, width] as uint8 around 128, and the scale of each row: [n, 1]. Computed once for every `x`."""
        if x not in self._quantized:
            largest = self.op("ReduceMax", self.op("Abs", x), axes=[-1], keepdims=1)
            scales = self.op("Mul", largest, self.constant("token_step", 1 / INT8_STEPS))
            scales = self.op("Max", scales, self.constant("tiny", TINY))
            steps = self.op("QuantizeLinear", self.op("Div", x, scales), self._one(), self._zero())
            self._quantized[x] = steps, scales
        return self._quantized[x]

    def layer_norm(self, x: str, layer: nn.LayerNorm, name: str) -> str:
        weight, bias = self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)

    def attention(self, query: str, key: str, value: str, n_heads: int) -> str:
        # Without a mask ONNX Runtime computes in tiles: a long text does not take the square of its length in memory.
        padded = tuple(self.op("Gather", x, ROWS) for x in (query, key, value))
        without_mask = _attention_branch("attended.long", padded, n_heads)
        with_mask = _attention_branch("attended.together", (*padded, "", MASK), n_heads)
        attended = self.op("If", LONG, then_branch=without_mask, else_branch=with_mask)
        return self.op("Gather", self.op("Flatten", attended, axis=2), PLACES)

    def _one(self) -> str:
        return self.constant("one", 1)

    def _zero(self) -> str:
        return self.constant("int8_zero", 128, np.uint8)


def multiplies_int8() -> bool:
    """True if the processor adds products of 8 bits in 32 bits (VNNI); others add two of them in 16, which overflow."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def adapter_inputs(layer: str, low_rank: LowRank) -> dict[str, NDArray[Any]]:
    """What the graph reads when an adapter is put on one of its layers.

    Its rank is cut into groups, because a product as narrow as one sums up in the same order however many tokens there
    are. In wider ones ONNX Runtime divides the columns between threads when tokens are few, and then sums otherwise.
    """
    padding = -len(low_rank.down) % RANK_GROUP
    down = np.pad(low_rank.down.numpy(), ((0, padding), (0, 0)))
    up = np.pad(low_rank.up.numpy(), ((0, 0), (0, padding)))
    groups = down.reshape(-1, RANK_GROUP, down.shape[1]).transpose(0, 2, 1)
    values = {DOWN: groups, UP: up.T, IS_ADAPTED: np.array(True)}
    return {layer + suffix: np.ascontiguousarray(value) for suffix, value in values.items()}


def graph_of(encoder: Any, *, int8: bool = False) -> OnnxGraph:
    """The graph of transformers' `BertModel` or `XLMRobertaModel` with the exact GELU, in float32.

    Its weights are the encoder's own memory, except for linear layers in int8.
    """
    graph = OnnxGraph(int8)
    build_encoder(graph, encoder)
    graph.nodes[-1].output[0] = HIDDEN
    return graph


def graph_inputs(texts: PackedTexts) -> dict[str, NDArray[Any]]:
    """What the graph reads of a batch."""
    return {
        IDS: texts.ids.numpy(),
        POSITIONS: texts.positions.numpy(),
        ROWS: texts.rows.numpy(),
        PLACES: texts.places.numpy(),
        MASK: texts.mask.int().numpy(),
        LONG: np.array(texts.is_long),
    }


def _attention_branch(name: str, inputs: Sequence[str], n_heads: int) -> GraphProto:
    node = helper.make_node("MultiHeadAttention", list(inputs), [name], domain=CONTRIB, num_heads=n_heads)
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n_texts", "longest", None])
    return helper.make_graph([node], name, [], [output])


def _branch(name: str, nodes: Sequence[NodeProto]) -> GraphProto:
    """Of an `If`: its last node's output, of any shape."""
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [output])


def _no_adapter(layer: str, out_features: int, in_features: int) -> list[TensorProto]:
    """Default values of `adapter_inputs`; only the last one is ever read."""
    down, up = np.zeros((0, in_features, RANK_GROUP), np.float32), np.zeros((0, out_features), np.float32)
    values = {DOWN: down, UP: up, IS_ADAPTED: np.array(False)}
    return [numpy_helper.from_array(value, layer + suffix) for suffix, value in values.items()]


def _input_with_default(default: TensorProto) -> ValueInfoProto:
    """The number of groups, or the rank, is free; the other sizes are the default's."""
    shape = [None, *default.dims[1:]] if default.dims else []
    return helper.make_tensor_value_info(default.name, default.data_type, shape)


def _external(name: str, array: NDArray[Any]) -> TensorProto:
    """An initializer whose values are handed to the session beside the graph."""
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "memory", "offset": "0", "length": str(array.nbytes)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
