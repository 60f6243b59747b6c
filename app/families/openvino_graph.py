"""The forward pass of a BERT-like encoder as OpenVINO's graph, over the encoder's own weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from app.families.encoder_graph import Graph, PackedTexts, build_encoder
from app.families.openvino_runtime import Model, PartialShape, Type, ops

ANY = -1
"""A size that differs from batch to batch."""

Node = Any
"""One of OpenVINO's, of one output."""


class OpenVinoGraph(Graph[Node]):
    """A graph that is being built, and its inputs: those of `PackedTexts`."""

    def __init__(self) -> None:
        self.ids, self.positions, self.places = (_input(name, [ANY]) for name in ("ids", "positions", "places"))
        self.rows = _input("rows", [ANY, ANY])
        self.bias = _input("bias", [ANY, 1, 1, ANY], Type.f32)
        """Added to what attention weighs before softmax: 0 where there is a token, else very much less."""

    @property
    def inputs(self) -> list[Node]:
        """In the order of `graph_inputs`."""
        return [self.ids, self.positions, self.rows, self.places, self.bias]

    def lookup_ids(self, table: Tensor) -> Node:
        return ops.gather(_weight(table), self.ids, _constant(0))

    def lookup_positions(self, table: Tensor) -> Node:
        return ops.gather(_weight(table), self.positions, _constant(0))

    def add(self, a: Node, b: Node | Tensor) -> Node:
        return ops.add(a, _weight(b[None]) if isinstance(b, Tensor) else b)

    def gelu(self, x: Node) -> Node:
        return ops.gelu(x, "erf")

    def linear(self, x: Node, layer: nn.Linear, name: str) -> Node:
        product = ops.matmul(x, _weight(layer.weight), transpose_a=False, transpose_b=True)
        return ops.add(product, _weight(layer.bias[None]))

    def layer_norm(self, x: Node, layer: nn.LayerNorm, name: str) -> Node:
        normal = ops.mvn(x, _constant([-1]), normalize_variance=True, eps=layer.eps, eps_mode="inside_sqrt")
        return ops.add(ops.multiply(normal, _weight(layer.weight[None])), _weight(layer.bias[None]))

    def attention(self, query: Node, key: Node, value: Node, n_heads: int) -> Node:
        heads = (self._heads(x, n_heads) for x in (query, key, value))
        attended = ops.transpose(ops.scaled_dot_product_attention(*heads, self.bias), _constant([0, 2, 1, 3]))
        dim = query.output(0).partial_shape[1].get_length()
        return ops.gather(ops.reshape(attended, _constant([-1, dim]), special_zero=False), self.places, _constant(0))

    def _heads(self, x: Node, n_heads: int) -> Node:
        """[n_tokens, dim] -> [n_texts, n_heads, longest, head_dim]"""
        padded = ops.gather(x, self.rows, _constant(0))
        # A size of 0 is taken over.
        split = ops.reshape(padded, _constant([0, 0, n_heads, -1]), special_zero=True)
        return ops.transpose(split, _constant([0, 2, 1, 3]))


def model_of(encoder: Any) -> Model:
    """The model of transformers' `BertModel` or `XLMRobertaModel` with the exact GELU, in float32.

    Its weights are the encoder's own memory. Output: the last hidden states, [n_tokens, dim].
    """
    graph = OpenVinoGraph()
    return Model([build_encoder(graph, encoder)], graph.inputs, "encoder")


def graph_inputs(texts: PackedTexts) -> list[NDArray[Any]]:
    """What the graph reads of a batch, in order."""
    bias = np.where(texts.mask.numpy(), np.float32(0), np.finfo(np.float32).min)[:, None, None]
    return [*(part.numpy() for part in (texts.ids, texts.positions, texts.rows, texts.places)), bias]


def _input(name: str, shape: list[int], dtype: Any = Type.i64) -> Node:
    return ops.parameter(PartialShape(shape), dtype, name)


def _weight(values: Tensor) -> Node:
    """Not copied: the encoder has to live as long."""
    return ops.constant(values.detach().numpy(), shared_memory=True)


def _constant(value: int | list[int]) -> Node:
    return ops.constant(np.array(value, np.int64))
