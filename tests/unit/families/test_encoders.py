"""Every way to run an encoder computes what transformers does with one text at a time."""

import copy
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from app.core.errors import ModelLoadError, OutOfMemoryError
from app.core.types import Embedding
from app.families import encoders
from app.families.base import Checkpoint, LoadOptions, ModelInfo, Prepared
from app.families.encoder_graph import LONG_TEXT
from app.families.encoders import EncoderRunner, open_encoder
from app.families.low_rank import LowRank
from app.families.onnx_encoder import OnnxEncoder
from app.families.packed_encoder import PackedEncoder
from app.families.padded_encoder import PaddedEncoder
from app.families.torch_model import TorchModel
from app.families.varlen_attention import jagged_attention
from app.settings import REPO
from app.starter.weights import randomize
from tests.unit.families.backends import skip_without

N_POSITIONS = LONG_TEXT + 200
SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": N_POSITIONS,
    "pad_token_id": 1,
}
KINDS = ("bert", "xlm-roberta")
ADAPTED = ("attention.self.query", "attention.output.dense", "intermediate.dense")
INT8_COSINE = 0.99
"""Of a text's mean. Random weights carry an error further than trained ones: benchmarks/int8_quality.py."""


def encoder(kind: str, activation: str = "gelu") -> Any:
    made = (
        BertModel(BertConfig(**SIZES, hidden_act=activation))
        if kind == "bert"
        else XLMRobertaModel(XLMRobertaConfig(**SIZES, hidden_act=activation))
    )
    randomize(made, seed=1)
    return made.eval().requires_grad_(False)


def texts(*lengths: int) -> list[Tensor]:
    """The second one holds a literal padding token, to which XLM-RoBERTa gives no position."""
    random = torch.Generator().manual_seed(0)
    made = [torch.randint(5, 100, (n,), generator=random) for n in lengths]
    if len(made) > 1:
        made[1][3] = 1
    return made


RAGGED = texts(1, 7, 64, 2, 33, 31)


def on_openvino(encoder: Any) -> EncoderRunner:
    skip_without("openvino")
    from app.families.openvino_encoder import OpenVinoEncoder

    return OpenVinoEncoder(encoder)


Graph = Callable[[Any], EncoderRunner]
GRAPHS = [OnnxEncoder, on_openvino]


def states(run: EncoderRunner, batch: list[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        return run(batch)


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
def test_int8_stays_near(kind: str) -> None:
    found = states(OnnxEncoder(encoder(kind), int8=True), RAGGED)
    for ours, theirs in zip(found, expected(kind, RAGGED), strict=True):
        assert torch.cosine_similarity(ours.mean(0), theirs.mean(0), dim=0) > INT8_COSINE
        assert not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runner", [*GRAPHS, partial(OnnxEncoder, int8=True)])
def test_graph_runtimes_give_the_same_bits_in_any_batch(runner: Graph) -> None:
    run = runner(encoder("xlm-roberta"))
    batch = texts(3, 40, 17, 64, 65, 200, 31, 32, 33, 90, LONG_TEXT + 8)
    alone = [states(run, [text])[0] for text in batch]
    together, backwards = states(run, batch), states(run, batch[::-1])[::-1]
    for one, two, three in zip(alone, together, backwards, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


@pytest.mark.parametrize("runner", GRAPHS)
def test_graph_runtimes_give_the_same_bits_in_any_batch_in_a_true_width(runner: Graph) -> None:
    if runner is on_openvino and torch.backends.cpu.get_cpu_capability() != "AVX512":
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


@pytest.mark.parametrize(("capability", "backend"), [("AVX512", "openvino"), ("AVX2", "onnxruntime")])
def test_the_choice_for_a_cpu(monkeypatch: pytest.MonkeyPatch, capability: str, backend: str) -> None:
    skip_without(backend)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert open_encoder(encoder("bert"), LoadOptions()).backend == backend
    assert open_encoder(encoder("bert"), LoadOptions(backend=backend)).backend == backend
    assert isinstance(open_encoder(encoder("bert"), LoadOptions(backend="onnxruntime")), OnnxEncoder)
    assert isinstance(open_encoder(encoder("bert"), LoadOptions(dtype="int8")), OnnxEncoder)
    assert isinstance(open_encoder(encoder("bert"), LoadOptions(backend="torch")), PackedEncoder)
    assert isinstance(open_encoder(encoder("bert").bfloat16(), LoadOptions(dtype="bfloat16")), PackedEncoder)
    assert isinstance(open_encoder(encoder("bert", "relu"), LoadOptions()), PackedEncoder)


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("relu", LoadOptions(backend="onnxruntime")),
        ("relu", LoadOptions(backend="openvino")),
        ("gelu", LoadOptions(dtype="int8", backend="openvino")),
        ("gelu", LoadOptions(dtype="bfloat16", backend="onnxruntime")),
        ("gelu", LoadOptions(dtype="int8", backend="torch")),
        ("gelu", LoadOptions(device="cuda", dtype="int8")),
    ],
)
def test_what_graph_runtimes_cannot_do_is_said(activation: str, options: LoadOptions) -> None:
    with pytest.raises(ModelLoadError, match="for text models on a CPU"):
        open_encoder(encoder("bert", activation), options)


def test_memory_is_that_of_the_weights() -> None:
    n_bytes = sum(weight.nbytes for name, weight in encoder("bert").named_parameters() if "pooler" not in name)
    for runner in GRAPHS:
        assert runner(encoder("bert")).memory_bytes == pytest.approx(n_bytes, rel=0.01)
    assert OnnxEncoder(encoder("bert"), int8=True).memory_bytes < 0.8 * n_bytes


def test_openvino_computes_two_batches_at_once() -> None:
    plain = encoder("bert")
    layers = sum(weight.nbytes for weight in plain.encoder.parameters())
    run = on_openvino(plain)
    ragged = [texts(5, 90), texts(700, 30)]
    alone = [states(run, batch) for batch in ragged]
    once = run.memory_bytes
    both = Barrier(2)

    def compute(batch: list[Tensor]) -> list[Tensor]:
        both.wait()
        return states(run, batch)

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(compute, ragged * 50))
    for number, found in enumerate(together):
        for one, two in zip(found, alone[number % 2], strict=True):
            assert torch.equal(one, two)
    # Each of the two threads has its own, and there is no third.
    assert run.memory_bytes == once + layers


def test_importing_openvino_reports_to_nobody(tmp_path: Path) -> None:
    skip_without("openvino")
    script = "import sys, app.families.openvino_encoder; print([name for name in sys.modules if 'telemetry' in name])"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(tmp_path)},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


def test_where_openvino_is_not_installed_it_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "app.families.openvino_encoder", None)
    assert isinstance(open_encoder(encoder("bert"), LoadOptions()), OnnxEncoder)
    with pytest.raises(ModelLoadError, match="OpenVINO cannot be imported here"):
        open_encoder(encoder("bert"), LoadOptions(backend="openvino"))


class Wrapped(TorchModel):
    """What the engine calls, around an encoder."""

    def __init__(self, run: EncoderRunner) -> None:
        super().__init__(nn.Module(), ModelInfo(64, N_POSITIONS, "cpu", "float32", 0))
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
