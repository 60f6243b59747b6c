"""BERT-like encoders as transformers' model classes, which train them and compute on GPUs."""

from typing import Any

from transformers import BertModel, XLMRobertaModel

from app.families.base import Checkpoint, LoadOptions
from app.families.encoder_weights import NOT_NEEDED
from app.families.pretrained import load_pretrained


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


def load_pretrained_encoder(checkpoint: Checkpoint, model_type: str, options: LoadOptions) -> Any:
    """The checkpoint's transformer on its device. Raises `ModelLoadError`."""
    return load_pretrained(
        ENCODERS[model_type],
        checkpoint,
        options,
        attention="sdpa",
        key_mapping={},
        may_be_unexpected=NOT_NEEDED,
    )
