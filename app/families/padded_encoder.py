"""Runs an encoder as transformers does: every text padded to the longest of its batch."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from app.families.base import Padding
from app.families.low_rank import Adapter, memory_of, with_adapter
from app.families.torch_model import dtype_name, memory_bytes, to_device


class PaddedEncoder:
    """For devices without a way to compute attention over packed texts."""

    backend = "torch"
    attention = "sdpa"
    padding = Padding.ALL

    def __init__(self, encoder: Any) -> None:
        self.memory_bytes = memory_bytes(encoder)
        self.dtype = dtype_name(encoder)
        self._encoder = encoder

    def __call__(self, texts: Sequence[Tensor]) -> list[Tensor]:
        """Token ids of each text on the CPU, [n_tokens_i] int64, to its last hidden states, [n_tokens_i, dim]."""
        device = str(self._encoder.device)
        ids = pad_sequence(list(texts), batch_first=True, padding_value=self._encoder.config.pad_token_id)
        lengths = torch.tensor([len(text) for text in texts])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        inputs = {"input_ids": to_device(ids, device), "attention_mask": to_device(mask.long(), device)}
        states = self._encoder(**inputs).last_hidden_state.float()
        return [rows[: len(text)] for rows, text in zip(states, texts, strict=True)]

    def adapted(self, adapter: Adapter) -> Self:
        """The same encoder with a LoRA adapter, over the same weights. Raises `ModelLoadError`."""
        runner = copy.copy(self)
        runner._encoder = with_adapter(self._encoder, adapter)
        runner.memory_bytes = memory_of(adapter)
        return runner
