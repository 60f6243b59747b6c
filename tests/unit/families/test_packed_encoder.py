"""The packed forward pass computes what transformers does with one text at a time."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

from app.families.packed_encoder import PackedEncoder
from app.starter.weights import randomize

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
}


@pytest.fixture(params=["gelu", "gelu_new", "relu"])
def activation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def encoder(kind: str, activation: str) -> BertModel | XLMRobertaModel:
    made = (
        BertModel(BertConfig(**SIZES, hidden_act=activation))
        if kind == "bert"
        else XLMRobertaModel(XLMRobertaConfig(**SIZES, hidden_act=activation))
    )
    randomize(made, seed=1)
    return made.eval().requires_grad_(False)


def texts() -> list[Tensor]:
    """Of uneven lengths; one holds a literal padding token, to which XLM-RoBERTa gives no position."""
    random = torch.Generator().manual_seed(0)
    made = [torch.randint(5, 100, (n,), generator=random) for n in (1, 7, 64, 2, 33)]
    made[1][3] = 1
    return made


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_states_are_those_of_transformers(kind: str, activation: str) -> None:
    reference = encoder(kind, activation)
    with torch.inference_mode():
        expected = [reference(text[None], attention_mask=torch.ones_like(text)[None])[0][0] for text in texts()]
        packed = PackedEncoder(copy.deepcopy(reference))(texts())
    for ours, theirs in zip(packed, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
