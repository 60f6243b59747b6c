"""Writes a trained encoder in half precision, as the originals' files are."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import XLMRobertaModel, XLMRobertaTokenizer

from recipes import STARTER


def write_encoder(
    name: str, encoder: XLMRobertaModel, tokenizer: XLMRobertaTokenizer, heads: Mapping[str, nn.Linear] | None = None
) -> Path:
    """The folder of the checkpoint, made anew; each head goes into a file of its name beside the encoder."""
    folder = STARTER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _with_pooler(encoder).half().save_pretrained(folder)
    tokenizer.model_max_length = encoder.config.max_position_embeddings - 2
    tokenizer.save_pretrained(folder)
    for head, linear in (heads or {}).items():
        state = {key: value.half() for key, value in linear.state_dict().items()}
        save_file(state, folder / f"{head}.safetensors", metadata={"format": "pt"})
    return folder


def _with_pooler(encoder: XLMRobertaModel) -> XLMRobertaModel:
    """A copy with XLM-RoBERTa's pooler, which nothing reads, but which libraries miss loudly."""
    complete = XLMRobertaModel(encoder.config)
    complete.load_state_dict(encoder.state_dict(), strict=False)
    with torch.no_grad():
        complete.pooler.dense.weight.zero_()
        complete.pooler.dense.bias.zero_()
    return complete
