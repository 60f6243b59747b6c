"""Builds small untrained checkpoints of E5 and BGE-M3."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizer

from app.starter.card import write_card
from app.starter.vocabulary import unigram_pieces
from app.starter.weights import randomize

DIM = 64
E5_TOKENS = 512
BGE_M3_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of an encoder; the inner layers are `inner_factor` times as wide as the outer ones."""

    dim: int
    n_layers: int
    n_heads: int
    inner_factor: int = 4
    model_type: str = "xlm-roberta"
    """Or `bert`, with XLM-RoBERTa's tokenizer, as multilingual-e5-small has it."""


SMALLEST = EncoderShape(dim=DIM, n_layers=2, n_heads=4, inner_factor=2)


def build_e5(folder: Path, shape: EncoderShape = SMALLEST) -> None:
    """Write a checkpoint with the files of `intfloat/multilingual-e5-large`, sentence-transformers' included."""
    _write_encoder(folder, shape, max_tokens=E5_TOKENS, seed=5)
    write_sentence_transformers_files(folder, shape.dim)
    write_card(folder, title="E5", original="intfloat/multilingual-e5-large", library="sentence-transformers")


def write_sentence_transformers_files(folder: Path, dim: int) -> None:
    """Write what sentence-transformers reads beside an E5 encoder: its modules, with the mean over tokens."""
    _write_json(
        folder / "modules.json",
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write_json(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": dim,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": E5_TOKENS, "do_lower_case": False})
    _write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.2.2"}})


def build_bge_m3(folder: Path, shape: EncoderShape = SMALLEST) -> None:
    """Write a checkpoint with the files of `BAAI/bge-m3` after the conversion of its pickles to safetensors."""
    _write_encoder(folder, shape, max_tokens=BGE_M3_TOKENS, seed=3)
    sparse_linear, colbert_linear = nn.Linear(shape.dim, 1), nn.Linear(shape.dim, shape.dim)
    randomize(sparse_linear, seed=31)
    randomize(colbert_linear, seed=32)
    with torch.no_grad():
        # Most tokens get a positive weight, as from the trained model.
        sparse_linear.bias.fill_(2.0)
    for name, head in {"sparse_linear": sparse_linear, "colbert_linear": colbert_linear}.items():
        save_file(head.state_dict(), folder / f"{name}.safetensors", metadata={"format": "pt"})
    write_card(folder, title="BGE-M3", original="BAAI/bge-m3")


def _write_encoder(folder: Path, shape: EncoderShape, *, max_tokens: int, seed: int) -> None:
    pieces = unigram_pieces()
    sizes = {
        "vocab_size": len(pieces),
        "hidden_size": shape.dim,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "intermediate_size": shape.inner_factor * shape.dim,
    }
    model: BertModel | XLMRobertaModel
    if shape.model_type == "bert":
        model = BertModel(BertConfig(**sizes, max_position_embeddings=max_tokens, pad_token_id=0))
    else:
        # XLM-RoBERTa counts positions from the padding id + 1 on, hence two more than there are tokens.
        model = XLMRobertaModel(
            XLMRobertaConfig(**sizes, max_position_embeddings=max_tokens + 2, type_vocab_size=1, layer_norm_eps=1e-5)
        )
    randomize(model, seed)
    model.save_pretrained(folder)
    XLMRobertaTokenizer(vocab=pieces, model_max_length=max_tokens).save_pretrained(folder)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
