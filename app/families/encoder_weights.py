"""A BERT-like encoder's weights in the modules that transformers has for them, without its model classes.

To import those takes a second and a half, of which a server that computes with a graph runtime needs nothing.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertConfig, XLMRobertaConfig

from app.core.errors import ModelLoadError
from app.families.files import read_json
from app.families.pretrained import UNREADABLE, renamed, require_complete

CONFIGS: dict[str, Any] = {"bert": BertConfig, "xlm-roberta": XLMRobertaConfig}
"""By `model_type`."""

NOT_NEEDED = r"^(pooler|lm_head|cls)\.|position_ids$"
"""Weights that checkpoints have beside the encoder's own: heads of the pretraining, and a buffer that is computed."""

_NAMES = {r"^(bert|roberta)\.": "", r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}
"""Names of weights as a checkpoint may have them -> those of the encoder itself, of today."""

INDEX = "model.safetensors.index.json"


class Linear(nn.Linear):
    """Not initialized: what it is filled with is read from a file."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """Not initialized, likewise."""

    def reset_parameters(self) -> None:
        pass


class EncoderWeights(nn.Module):
    """The weights of transformers' `BertModel` or `XLMRobertaModel` without the pooler, under their names.

    Others compute with them: it has no forward pass.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.is_mapped = False
        """True if they are a file's own, which the system can drop from memory and read again."""
        dim = config.hidden_size
        self.embeddings = _parts(
            word_embeddings=Embedding(config.vocab_size, dim),
            position_embeddings=Embedding(config.max_position_embeddings, dim),
            token_type_embeddings=Embedding(config.type_vocab_size, dim),
            LayerNorm=_norm(config),
        )
        self.encoder = _parts(layer=nn.ModuleList(_layer(config) for _ in range(config.num_hidden_layers)))


def read_encoder(folder: Path, model_type: str) -> EncoderWeights:
    """The checkpoint's encoder in float32 on the CPU. Raises `ModelLoadError`."""
    try:
        config = CONFIGS[model_type].from_pretrained(str(folder), local_files_only=True)
        with torch.device("meta"):
            encoder = EncoderWeights(config)
        weights = {renamed(name, _NAMES): weight for file in _files(folder) for name, weight in load_file(file).items()}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelLoadError(UNREADABLE) from error
    expected = encoder.state_dict()
    require_complete(
        missing=expected.keys() - weights.keys(),
        unexpected=[name for name in weights.keys() - expected.keys() if not re.search(NOT_NEEDED, name)],
        misshapen=[name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape],
    )
    state: dict[str, Tensor] = {name: weights[name].float() for name in expected}
    encoder.load_state_dict(state, assign=True)
    encoder.is_mapped = all(weights[name].dtype is torch.float32 for name in expected)
    return encoder.eval().requires_grad_(False)


def _files(folder: Path) -> list[Path]:
    """Those with weights: one, or those that an index names."""
    if not (folder / INDEX).is_file():
        return [folder / "model.safetensors"]
    return [folder / name for name in sorted(set(read_json(folder / INDEX)["weight_map"].values()))]


def _layer(config: Any) -> Any:
    dim, inner = config.hidden_size, config.intermediate_size
    heads = _parts(**{name: Linear(dim, dim) for name in ("query", "key", "value")})
    heads.num_attention_heads = config.num_attention_heads
    return _parts(
        attention=_parts(self=heads, output=_parts(dense=Linear(dim, dim), LayerNorm=_norm(config))),
        intermediate=_parts(dense=Linear(dim, inner)),
        output=_parts(dense=Linear(inner, dim), LayerNorm=_norm(config)),
    )


def _norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def _parts(**parts: nn.Module) -> Any:
    """A module with these in it."""
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module
