"""Every way to run an encoder computes what transformers does with one text at a time."""

import copy
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from app.core.errors import ModelLoadError, OutOfMemoryError
from app.core.types import Embedding
from app.families.base import Checkpoint, LoadOptions, ModelInfo, Prepared
from app.families.encoder_graph import LONG_TEXT
from app.families.encoders import EncoderRunner, open_encoder, with_backend
from app.families.low_rank import LowRank
from app.families.onnx_encoder import OnnxEncoder
from app.families.onnx_graph import graph_of
from app.families.packed_encoder import PackedEncoder
from app.families.padded_encoder import PaddedEncoder
from app.families.torch_model import TorchModel
from app.families.varlen_attention import jagged_attention
from tests.unit.families.backends import skip_without
from tests.unit.families.encoder_models import N_POSITIONS, SIZES, encoder, on_openvino, states, texts

KINDS = ("bert", "xlm-roberta")
ADAPTED = ("attention.self.query", "attention.output.dense", "intermediate.dense")
INT8_COSINE = 0.99
"""Of a text's mean. Random weights carry an error further than trained ones: benchmarks/dtype_quality.py."""


BFLOAT16_COSINE = 0.999
"""Likewise."""

RAGGED = texts(1, 7, 64, 2, 33, 31)


Graph = Callable[[Any], EncoderRunner]
GRAPHS = [OnnxEncoder, on_openvino]
LESS_PRECISE: list[tuple[Graph, float]] = [
    (partial(OnnxEncoder, int8=True), INT8_COSINE),
    (partial(on_openvino, bfloat16=True), BFLOAT16_COSINE),
]


def expected(kind: str, batch: list[Tensor], activation: str = "gelu") -> list[Tensor]:
    reference = encoder(kind, activation)
    with torch.inference_mode():
        return [reference(text[None], attention_mask=torch.ones_like(text)[None])[0][0] for text in batch]


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_packed(kind: str, activation: str) -> None:
    assert_close(states(PackedEncoder(encoder(kind, activation)), RAGGED), expected(kind, RAGGED, activation))


@pytest.mark.parametrize("kind", KINDS)
def test_packed_with_one_call_of_attention_for_the_batch(kind: str) -> None:
    assert_close(states(PackedEncoder(encoder(kind), jagged_attention()), RAGGED), expected(kind, RAGGED))


@pytest.mark.parametrize("kind", KINDS)
def test_padded_with_an_adapter(kind: str) -> None:
    low_rank = LowRank(torch.randn(3, 64) / 8, torch.randn(64, 3) / 8)
    adapter = {f"encoder.layer.1.{name}": low_rank for name in ("attention.self.query", "attention.self.value")}
    padded, packed = (runner(encoder(kind)).adapted(adapter) for runner in (PaddedEncoder, PackedEncoder))
    assert_close(states(padded, RAGGED), states(packed, RAGGED))


@pytest.mark.parametrize("kind", KINDS)
def test_padded(kind: str) -> None:
    # A literal padding token is no part of a text to transformers when it makes the mask itself; here it is.
    assert_close(states(PaddedEncoder(encoder(kind)), RAGGED), expected(kind, RAGGED))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("runner", GRAPHS)
def test_graph_runtimes(kind: str, runner: Graph) -> None:
    assert_close(states(runner(encoder(kind)), RAGGED), expected(kind, RAGGED))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("runner", GRAPHS)
def test_graph_runtimes_with_long_texts(kind: str, runner: Graph) -> None:
    batch = texts(20, LONG_TEXT + 90, LONG_TEXT, 5, LONG_TEXT + 1)
    assert_close(states(runner(encoder(kind)), batch), expected(kind, batch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("runner", "cosine"), LESS_PRECISE)
def test_less_precise_ones_stay_near(kind: str, runner: Graph, cosine: float) -> None:
    found = states(runner(encoder(kind)), RAGGED)
    for ours, theirs in zip(found, expected(kind, RAGGED), strict=True):
        assert torch.cosine_similarity(ours.mean(0), theirs.mean(0), dim=0) > cosine
        assert not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runner", [*GRAPHS, *(runner for runner, _ in LESS_PRECISE)])
def test_graph_runtimes_give_the_same_bits_in_any_batch(runner: Graph) -> None:
    run = runner(encoder("xlm-roberta"))
    batch = texts(3, 40, 17, 64, 65, 200, 31, 32, 33, 90, LONG_TEXT + 8)
    alone = [states(run, [text])[0] for text in batch]
    together, backwards = states(run, batch), states(run, batch[::-1])[::-1]
    for one, two, three in zip(alone, together, backwards, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


@pytest.mark.parametrize("runner", [*GRAPHS, partial(on_openvino, bfloat16=True)])
def test_graph_runtimes_give_the_same_bits_in_any_batch_in_a_true_width(runner: Graph) -> None:
    if runner is not OnnxEncoder and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip(
            "without AVX-512 OpenVINO sums up in an order that depends on the batch; it is not the choice there"
        )
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 1}
    run = runner(BertModel(BertConfig(**SIZES | sizes)).eval().requires_grad_(False))
    batch = texts(3, 40, 17, 64, 65, 200, 31, 90)
    for text, together in zip(batch, states(run, batch), strict=True):
        assert torch.equal(states(run, [text])[0], together)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="only threads divide a product")
def test_onnx_runtime_gives_the_same_bits_in_any_batch_with_an_adapter() -> None:
    """As wide as it takes for products of this rank to be summed up in another order, were they computed whole."""
    width, rank = 1024, 40
    config = BertConfig(
        **SIZES | {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 16, "intermediate_size": width}
    )
    plain = BertModel(config).eval().requires_grad_(False)
    run = OnnxEncoder(plain).adapted(
        {f"encoder.layer.0.{name}": LowRank(torch.randn(rank, width), torch.randn(width, rank)) for name in ADAPTED}
    )
    batch = texts(3, 40, 17, 64, 65, 200, 5, 33)
    for text, together in zip(batch, states(run, batch), strict=True):
        assert torch.equal(states(run, [text])[0], together)


def test_a_row_of_zeros_is_no_trouble_in_int8() -> None:
    silent = encoder("bert")
    for layer in silent.encoder.layer:
        # GELU of a very negative number is zero: nothing but zeros goes into the last product.
        layer.intermediate.dense.weight.zero_()
        layer.intermediate.dense.bias.fill_(-100)
    wanted = copy.deepcopy(silent)
    with torch.inference_mode():
        reference = wanted(RAGGED[2][None])[0][0]
    (found,) = states(OnnxEncoder(silent, int8=True), [RAGGED[2]])
    assert torch.cosine_similarity(found.mean(0), reference.mean(0), dim=0) > INT8_COSINE


@pytest.mark.parametrize(("features", "steps"), [({"avx512_vnni": True}, 127), ({"avx_vnni": True}, 127), ({}, 63)])
def test_weights_in_int8_keep_to_7_bits_where_products_would_overflow(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], steps: int
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    weights = [array for array in graph_of(encoder("bert"), int8=True).weights.values() if array.dtype == np.int8]
    assert {int(abs(array).max()) for array in weights} == {steps}


@pytest.mark.parametrize(("capability", "backend"), [("AVX512", "openvino"), ("AVX2", "onnxruntime")])
def test_the_choice_for_a_cpu(monkeypatch: pytest.MonkeyPatch, capability: str, backend: str) -> None:
    skip_without(backend)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert opened(LoadOptions()).backend == backend
    assert opened(LoadOptions(backend=backend)).backend == backend
    assert isinstance(opened(LoadOptions(backend="onnxruntime")), OnnxEncoder)
    assert isinstance(opened(LoadOptions(dtype="int8")), OnnxEncoder)
    assert isinstance(opened(LoadOptions(backend="torch")), PackedEncoder)
    assert isinstance(opened(LoadOptions(), "relu"), PackedEncoder)


def opened(options: LoadOptions, activation: str = "gelu") -> EncoderRunner:
    return open_encoder(encoder("bert", activation), with_backend(options, activation))


@pytest.mark.parametrize(
    ("capability", "features", "backend"),
    [
        ("AVX512", {"avx512_bf16": True}, "openvino"),
        ("AVX512", {"avx512_bf16": False}, "torch"),
        ("AVX2", {}, "torch"),
    ],
)
def test_the_choice_for_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capability: str, features: dict[str, bool], backend: str
) -> None:
    skip_without("openvino")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    half = LoadOptions(dtype="bfloat16")
    assert with_backend(half, "gelu").backend == backend
    assert with_backend(half, "relu").backend == "torch"
    if backend == "torch":
        with pytest.raises(ModelLoadError, match="bfloat16 where the processor has it"):
            with_backend(replace(half, backend="openvino"), "gelu")


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("relu", LoadOptions(backend="onnxruntime")),
        ("relu", LoadOptions(backend="openvino")),
        ("gelu", LoadOptions(dtype="int8", backend="openvino")),
        ("gelu", LoadOptions(dtype="bfloat16", backend="onnxruntime")),
        ("gelu", LoadOptions(dtype="int8", backend="torch")),
        ("gelu", LoadOptions(device="cuda", dtype="int8")),
        ("gelu", LoadOptions(dtype="float16", backend="openvino")),
    ],
)
def test_what_graph_runtimes_cannot_do_is_said(activation: str, options: LoadOptions) -> None:
    with pytest.raises(ModelLoadError, match="for text models on a CPU"):
        with_backend(options, activation)


def test_memory_is_that_of_the_weights() -> None:
    n_bytes = sum(weight.nbytes for name, weight in encoder("bert").named_parameters() if "pooler" not in name)
    for runner in GRAPHS:
        mapped = encoder("bert")
        mapped.is_mapped = True
        # transformers' modules have buffers of positions beside them.
        assert runner(mapped).memory_bytes == pytest.approx(n_bytes, rel=0.04)
    assert OnnxEncoder(encoder("bert"), int8=True).memory_bytes < 0.8 * n_bytes


class Wrapped(TorchModel):
    """What the engine calls, around an encoder."""

    def __init__(self, run: EncoderRunner) -> None:
        super().__init__(nn.Module(), ModelInfo(64, N_POSITIONS, "cpu", "float32"), 0)
        self.run = run

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        raise NotImplementedError

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        self.run([item.inputs["ids"] for item in batch])
        return [Embedding(item.n_tokens) for item in batch]


@pytest.mark.skipif(sys.platform != "linux", reason="reads its size from /proc")
@pytest.mark.parametrize("runner", GRAPHS)
def test_a_batch_that_does_not_fit_into_memory_is_told_apart(runner: Graph) -> None:
    run = runner(encoder("bert"))
    batch = texts(*[LONG_TEXT] * 512)
    (before,) = states(run, batch[:1])
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    # Less than the widest layer gives: 512 texts x 1024 tokens x 128 numbers.
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (200 << 20), hard))
    try:
        with pytest.raises(OutOfMemoryError):
            Wrapped(run).encode([Prepared({"ids": text}, LONG_TEXT) for text in batch])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert torch.equal(states(run, batch[:1])[0], before)
