"""Small BERT-like encoders, and texts for them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from app.families.encoder_graph import LONG_TEXT
from app.families.encoders import EncoderRunner, multiplies_bfloat16
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


def on_openvino(encoder: Any, *, bfloat16: bool = False) -> EncoderRunner:
    skip_without("openvino")
    if bfloat16 and not multiplies_bfloat16():
        pytest.skip("this processor does not multiply bfloat16")
    from app.families.openvino_encoder import OpenVinoEncoder

    return OpenVinoEncoder(encoder, bfloat16=bfloat16)


def states(run: EncoderRunner, batch: list[Tensor]) -> list[Tensor]:
    with torch.inference_mode():
        return run(batch)
