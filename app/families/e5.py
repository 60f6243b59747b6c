"""E5: one vector a text, the mean over its tokens (Wang et al., arXiv:2212.03533 and 2402.05672).

The reference is sentence-transformers on the checkpoint's own files.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from app.core.errors import ModelLoadError
from app.core.types import Embedding, Role, TextInput
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.catalog import CATALOG
from app.families.files import read_json
from app.families.text_encoder import TextEncoderModel, max_tokens, open_served
from app.families.text_tokenizer import TextTokenizer
from app.families.torch_model import to_device, to_numpy

CONTEXT_LENGTH = 512

PREFIXES = {Role.QUERY: "query: ", Role.DOCUMENT: "passage: "}
"""The models were trained with them; callers send the bare text."""


class E5Model(TextEncoderModel):
    """multilingual-e5-small, -base, -large and e5-small-v2, -base-v2, -large-v2."""

    spec = CATALOG["e5"]

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        folder = checkpoint.base or checkpoint.path
        require_mean_pooling(folder)
        encoder = open_served(cls.spec, checkpoint, options)
        limit = max_tokens(encoder.config, _trained_length(folder))
        return cls(encoder, nn.Module(), options, limit, TextTokenizer.load(checkpoint, limit))

    def prompt(self, item: TextInput) -> str:
        return PREFIXES[item.role] + item.text

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        vectors = to_numpy(normalize(means(self.hidden_states(batch)), dim=-1))
        return [
            Embedding(n_tokens=item.n_tokens, truncated=item.truncated, dense=vector)
            for item, vector in zip(batch, vectors, strict=True)
        ]


def means(rows: Sequence[Tensor]) -> Tensor:
    """Of each text over its tokens: [n_tokens_i, dim] each to [n_texts, dim]."""
    if not rows[0].is_cuda:
        return torch.stack([own.mean(dim=0) for own in rows])
    # One launch in place of one a text: of short texts there are hundreds in a batch.
    lengths = to_device(torch.tensor([len(own) for own in rows]), str(rows[0].device))
    return torch.segment_reduce(torch.cat(list(rows)), "mean", lengths=lengths, unsafe=True)


def require_mean_pooling(folder: Path) -> None:
    """Raise `ModelLoadError` if sentence-transformers would make the vectors in another way than E5 does.

    A checkpoint without its `modules.json` is taken for E5 as published.
    """
    if not (folder / "modules.json").is_file():
        return
    for module in read_json(folder / "modules.json"):
        kind = module["type"].rsplit(".", 1)[-1]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ModelLoadError(f"E5 has no layer after its encoder; this checkpoint's modules.json lists {kind}.")
        if kind == "Pooling":
            modes = _pooling_modes(read_json(folder / module["path"] / "config.json"))
            if modes != ["mean"]:
                raise ModelLoadError(
                    "E5 vectors are the mean over the tokens, but this checkpoint is of another family: "
                    f"its {module['path']}/config.json asks for {' and '.join(modes)} pooling."
                )


def _pooling_modes(config: dict[str, Any]) -> list[str]:
    """Newer releases write `"pooling_mode": "mean"`, the older ones a flag for each mode."""
    if mode := config.get("pooling_mode"):
        return [mode] if isinstance(mode, str) else list(mode)
    flags = [name for name, on in config.items() if name.startswith("pooling_mode_") and on]
    return [re.sub(r"^pooling_mode_|_tokens?$", "", flag) for flag in flags] or ["mean"]


def _trained_length(folder: Path) -> int:
    """512 tokens, or fewer where the checkpoint was fine-tuned on shorter texts."""
    file = folder / "sentence_bert_config.json"
    length = read_json(file).get("max_seq_length") if file.is_file() else None
    return min(CONTEXT_LENGTH, length or CONTEXT_LENGTH)
