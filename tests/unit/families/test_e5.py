"""E5 by itself: which checkpoints it takes, prefixes, lengths, other dtypes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizer

from app.core.errors import ModelLoadError
from app.core.types import Output, Role, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.e5 import E5Model
from app.starter.weights import randomize

CopyOf = Callable[[str], Path]
TEXTS = ["hello world", "", "the moon " * 30]


def load(folder: Path, dtype: str = "float32", backend: str = "auto") -> E5Model:
    return E5Model.load(Checkpoint(folder), LoadOptions(dtype=dtype, backend=backend))


def vectors(model: E5Model, texts: list[str], role: Role = Role.QUERY) -> np.ndarray:
    return np.stack([e.dense for e in model.encode([model.prepare_text(TextInput(text, role)) for text in texts])])


def edit(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_info_is_read_from_the_checkpoint(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["e5"], backend="onnxruntime")
    info = model.info
    assert (info.dim, info.max_tokens, info.device, info.dtype) == (64, 512, "cpu", "float32")
    n_numbers = sum(tensor.numel() for tensor in load_file(checkpoints["e5"] / "model.safetensors").values())
    pooler = 64 * 64 + 64
    assert model.memory_bytes == (n_numbers - pooler) * 4
    assert info.backend == "onnxruntime"


def test_the_role_decides_the_prefix(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["e5"])
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["e5"])
    for role, text in {Role.QUERY: "query: moon", Role.DOCUMENT: "passage: moon"}.items():
        ids = model.prepare_text(TextInput("moon", role)).inputs["input_ids"]
        assert ids.tolist() == tokenizer(text).input_ids


def test_long_texts_are_cut_and_marked(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["e5"])
    embeddings = model.encode([model.prepare_text(TextInput(text)) for text in ("short", "long " * 1000)])
    assert [embedding.truncated for embedding in embeddings] == [False, True]
    assert embeddings[1].n_tokens == 512


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same_unit_vectors(checkpoints: dict[str, Path], dtype: str) -> None:
    exact, half = vectors(load(checkpoints["e5"]), TEXTS), vectors(load(checkpoints["e5"], dtype), TEXTS)
    assert (exact * half).sum(-1).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(half, axis=-1), 1, atol=1e-6)


def test_bert_checkpoints_too(tmp_path: Path) -> None:
    """The English e5-*-v2 are BERT models."""
    write_bert(tmp_path)
    reference = SentenceTransformer(str(tmp_path), device="cpu").encode(
        ["passage: " + text for text in TEXTS], normalize_embeddings=True
    )
    np.testing.assert_allclose(vectors(load(tmp_path), TEXTS, Role.DOCUMENT), reference, atol=1e-6)


def test_a_shorter_trained_length_is_kept(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    edit(folder / "sentence_bert_config.json", max_seq_length=128)
    assert load(folder).info.max_tokens == 128


def test_a_checkpoint_without_sentence_transformers_files_is_taken_for_e5(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    expected = vectors(load(folder), TEXTS)
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    np.testing.assert_array_equal(vectors(load(folder), TEXTS), expected)


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
        {"pooling_mode": "cls"},
        {"pooling_mode": ["mean", "cls"]},
        {"pooling_mode_max_tokens": True},
    ],
)
def test_another_pooling_is_refused(copy_of: CopyOf, pooling: dict[str, Any]) -> None:
    folder = copy_of("e5")
    edit(folder / "1_Pooling/config.json", **pooling)
    with pytest.raises(ModelLoadError, match=r"1_Pooling/config.json asks for .*(cls|max) pooling"):
        load(folder)


def test_newer_pooling_files_are_read(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    (folder / "1_Pooling/config.json").write_text('{"embedding_dimension": 64, "pooling_mode": "mean"}')
    assert load(folder).info.dim == 64


def test_a_layer_behind_the_pooling_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    modules = json.loads((folder / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelLoadError, match=r"modules.json lists Dense"):
        load(folder)


def test_another_architecture_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    edit(folder / "config.json", model_type="mistral")
    with pytest.raises(ModelLoadError, match="bert or xlm-roberta"):
        load(folder)


def test_a_missing_weight_is_refused_and_not_made_up(copy_of: CopyOf) -> None:
    folder = copy_of("e5")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"1 missing .*layer.1.output.dense"):
        load(folder)


def test_only_dense_vectors_come_out(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["e5"])
    (embedding,) = model.encode([model.prepare_text(TextInput("moon", outputs=frozenset({Output.DENSE})))])
    assert embedding.sparse is None
    assert embedding.multi_vector is None


def write_bert(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", "passage", ":", "hello", "the", "moon", "##s"]
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    model = BertModel(config)
    randomize(model, seed=1)
    model.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=512).save_pretrained(folder)
