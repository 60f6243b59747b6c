"""BGE-M3 by itself: heads, what is computed, which row belongs to which token."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize
from transformers import XLMRobertaModel

from app.core.errors import ModelLoadError
from app.core.types import Embedding, Output, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.bge_m3 import BgeM3Model

CopyOf = Callable[[str], Path]
ALL = frozenset(Output)


def load(folder: Path, dtype: str = "float32") -> BgeM3Model:
    return BgeM3Model.load(Checkpoint(folder), LoadOptions(dtype=dtype))


@pytest.fixture(scope="module")
def model(checkpoints: dict[str, Path]) -> BgeM3Model:
    return load(checkpoints["bge-m3"])


@pytest.fixture(scope="module")
def encoder(checkpoints: dict[str, Path]) -> XLMRobertaModel:
    """transformers' own."""
    return XLMRobertaModel.from_pretrained(checkpoints["bge-m3"], add_pooling_layer=False).eval()


def embed(model: BgeM3Model, text: str, outputs: frozenset[Output] = ALL) -> Embedding:
    return model.encode([model.prepare_text(TextInput(text, outputs=outputs))])[0]


def test_info_is_read_from_the_checkpoint(model: BgeM3Model) -> None:
    assert (model.info.dim, model.info.max_tokens) == (64, 8192)


@pytest.mark.parametrize("head", ["sparse_linear", "colbert_linear"])
def test_a_missing_head_says_how_to_convert(copy_of: CopyOf, head: str) -> None:
    folder = copy_of("bge-m3")
    (folder / f"{head}.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=rf"{head}\.safetensors.*python -m app models convert"):
        load(folder)


def test_a_broken_head_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("bge-m3")
    file = folder / "sparse_linear.safetensors"
    save_file({"weight": load_file(file)["weight"]}, file)
    with pytest.raises(ModelLoadError, match=r"sparse_linear\.safetensors holds no linear layer"):
        load(folder)
    file.write_bytes(b"pickle")
    with pytest.raises(ModelLoadError, match=r"sparse_linear\.safetensors holds no linear layer"):
        load(folder)


def test_each_input_gets_what_it_asked_for_and_no_more(model: BgeM3Model) -> None:
    wishes = [ALL, {Output.DENSE}, {Output.SPARSE}, {Output.MULTI_VECTOR}, {Output.SPARSE, Output.MULTI_VECTOR}]
    texts = ["the moon", "a longer text about the moon", "water", "solar energy report", ""]
    inputs = [TextInput(text, outputs=frozenset(wish)) for text, wish in zip(texts, wishes, strict=True)]
    embeddings = model.encode(model.prepare_texts(inputs))
    for item, embedding in zip(inputs, embeddings, strict=True):
        assert (embedding.dense is not None) == (Output.DENSE in item.outputs)
        assert (embedding.sparse is not None) == (Output.SPARSE in item.outputs)
        assert (embedding.multi_vector is not None) == (Output.MULTI_VECTOR in item.outputs)
    multi_vector = embeddings[3].multi_vector
    assert multi_vector is not None
    np.testing.assert_allclose(multi_vector.vectors, embed(model, texts[3]).multi_vector.vectors, atol=1e-5)


def test_heads_that_nobody_wants_are_not_computed(model: BgeM3Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        pytest.fail("computed for nothing")

    monkeypatch.setattr(model.module.colbert_linear, "forward", fail)
    monkeypatch.setattr(model.module.sparse_linear, "forward", fail)
    assert embed(model, "the moon", frozenset({Output.DENSE})).dense is not None


def test_rows_of_the_text_are_its_tokens_rows(model: BgeM3Model, encoder: XLMRobertaModel) -> None:
    """Row i belongs to token i + 1: the first token has none, and the closing one's comes last."""
    text = "the telescope and the moon"
    multi_vector = embed(model, text).multi_vector
    assert multi_vector is not None
    ids = model.prepare_text(TextInput(text)).inputs["input_ids"]
    with torch.inference_mode():
        hidden = encoder(input_ids=ids[None]).last_hidden_state[0]
        expected = normalize(model.module.colbert_linear(hidden[1:-1]), dim=-1).numpy()
    assert "".join(multi_vector.tokens) == "▁the▁telescope▁and▁the▁moon"
    assert multi_vector.start == 0
    np.testing.assert_allclose(multi_vector.content, expected, atol=1e-6)
    assert len(multi_vector.vectors) == len(multi_vector.tokens) + 1


def test_sparse_weights_are_the_highest_of_each_id(model: BgeM3Model, encoder: XLMRobertaModel) -> None:
    text = "the moon the moon the </s> sun <unk> <pad> 𝕏"
    sparse = embed(model, text).sparse
    assert sparse is not None
    ids = model.prepare_text(TextInput(text)).inputs["input_ids"]
    with torch.inference_mode():
        hidden = encoder(input_ids=ids[None]).last_hidden_state[0]
        weights = model.module.sparse_linear(hidden)[:, 0].tolist()
    highest: dict[int, float] = {}
    for token_id, weight in zip(ids.tolist(), weights, strict=True):
        if token_id > 3 and weight > 0:
            highest[token_id] = max(weight, highest.get(token_id, 0))
    assert sparse.token_ids.tolist() == sorted(highest)
    np.testing.assert_allclose(sparse.weights, [highest[i] for i in sorted(highest)], rtol=1e-5)
    assert "the" in sparse.tokens


def test_a_text_of_no_tokens_has_empty_weights_and_the_closing_row(model: BgeM3Model) -> None:
    embedding = embed(model, "")
    assert embedding.sparse is not None
    assert embedding.multi_vector is not None
    assert len(embedding.sparse.token_ids) == 0
    assert embedding.multi_vector.vectors.shape == (1, 64)
    assert embedding.multi_vector.tokens == ()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same(checkpoints: dict[str, Path], model: BgeM3Model, dtype: str) -> None:
    exact, half = (embed(m, "solar energy report") for m in (model, load(checkpoints["bge-m3"], dtype)))
    assert exact.dense @ half.dense > 0.999
    assert (exact.multi_vector.vectors * half.multi_vector.vectors).sum(-1).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(half.multi_vector.vectors, axis=-1), 1, atol=1e-6)
