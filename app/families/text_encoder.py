"""What E5 and BGE-M3 share: an XLM-RoBERTa or BERT encoder over texts of unequal length."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import BertModel, XLMRobertaModel

from app.core.errors import ModelLoadError
from app.core.types import Output
from app.families.base import Checkpoint, FamilySpec, LoadOptions, ModelInfo, Prepared
from app.families.files import read_json
from app.families.onednn import pack_linears
from app.families.packed_encoder import PackedEncoder
from app.families.pretrained import load_pretrained
from app.families.text_tokenizer import TextTokenizer
from app.families.torch_model import TorchModel, choose_attention, memory_bytes

NOT_NEEDED = r"^(pooler|lm_head|cls)\.|position_ids$"
"""Weights that checkpoints have beside the encoder's own: heads of the pretraining, and a buffer that is computed."""


class XLMRobertaEncoder(XLMRobertaModel):  # type: ignore[misc]
    """XLM-RoBERTa without the pooler, which these families do not use."""

    _keys_to_ignore_on_load_unexpected = (NOT_NEEDED,)

    def __init__(self, config: Any) -> None:
        super().__init__(config, add_pooling_layer=False)


class BertEncoder(BertModel):  # type: ignore[misc]
    """BERT without the pooler."""

    _keys_to_ignore_on_load_unexpected = (NOT_NEEDED,)

    def __init__(self, config: Any) -> None:
        super().__init__(config, add_pooling_layer=False)


ENCODERS = {"xlm-roberta": XLMRobertaEncoder, "bert": BertEncoder}
"""By `model_type` in `config.json`."""


class TextEncoderModel(TorchModel):
    """A model that reads text with an encoder; families make their vectors of its hidden states."""

    def __init__(self, module: nn.Module, info: ModelInfo, tokenizer: TextTokenizer) -> None:
        super().__init__(module, info)
        self.tokenizer = tokenizer
        self._packed = None if info.pads else PackedEncoder(self.encoder)
        pack_linears(module)

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The transformer in `module`."""

    def close(self) -> None:
        self._packed = None
        super().close()

    def prepare_tokens(self, text: str, outputs: frozenset[Output]) -> Prepared:
        """Tokenize the text as it stands."""
        tokenized = self.tokenizer.tokenize(text, with_pieces=Output.MULTI_VECTOR in outputs)
        return Prepared(
            inputs={"input_ids": tokenized.ids, "pieces": tokenized.pieces},
            n_tokens=len(tokenized.ids),
            outputs=outputs,
            truncated=tokenized.truncated,
        )

    def hidden_states(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """The last hidden states of each text, [n_tokens, dim] float32, in order and without padding."""
        texts = [item.inputs["input_ids"].to(self.info.device) for item in batch]
        states = self._packed(texts) if self._packed else self._padded_states(texts)
        return [rows.float() for rows in states]

    def _padded_states(self, texts: Sequence[Tensor]) -> list[Tensor]:
        ids = pad_sequence(list(texts), batch_first=True, padding_value=self.tokenizer.pad_id)
        n_tokens = torch.tensor([len(text) for text in texts], device=ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device) < n_tokens[:, None]
        states = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return [rows[: len(text)] for rows, text in zip(states, texts, strict=True)]


def load_encoder(spec: FamilySpec, checkpoint: Checkpoint, options: LoadOptions) -> Any:
    """The checkpoint's transformer on its device. Raises `ModelLoadError`."""
    config = read_json((checkpoint.base or checkpoint.path) / "config.json")
    model_type = config.get("model_type")
    if model_type not in spec.model_types:
        raise ModelLoadError(
            f"A checkpoint of the family {spec.name} has model_type {' or '.join(sorted(spec.model_types))} "
            "in its config.json; this one has another."
        )
    return load_pretrained(
        ENCODERS[model_type],
        checkpoint,
        options,
        attention=choose_attention(options),
        key_mapping={},
        may_be_unexpected=NOT_NEEDED,
    )


def max_tokens(config: Any, context_length: int) -> int:
    """`context_length`, or as many tokens as there are positions: XLM-RoBERTa's begin after the padding id."""
    unused = config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0
    n_positions: int = config.max_position_embeddings - unused
    return min(context_length, n_positions)


def model_info(module: nn.Module, config: Any, options: LoadOptions, n_tokens: int) -> ModelInfo:
    """`module` holds the transformer with `config` and reads `n_tokens` at most."""
    return ModelInfo(
        dim=config.hidden_size,
        max_tokens=n_tokens,
        device=options.device,
        dtype=options.dtype,
        memory_bytes=memory_bytes(module),
        attention=config._attn_implementation,
        # One attention call a text costs little on a CPU; a GPU would wait for the launches.
        pads=options.device != "cpu",
    )
