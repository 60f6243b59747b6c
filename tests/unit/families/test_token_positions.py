"""Positions of packed texts are those that transformers gives each text alone."""

import pytest
import torch
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaEmbeddings

from app.families.token_positions import token_positions

TEXTS = [[0, 5, 7, 2], [0, 2], [1, 1, 0, 1, 9, 2], [0], [0, 4, 2, 1]]
"""1 is the padding id, which a text can name."""


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[::-1], TEXTS[2:3]])
def test_positions_of_packed_texts(texts: list[list[int]]) -> None:
    lengths = list(map(len, texts))
    packed = torch.tensor([token for text in texts for token in text])
    expected = [
        XLMRobertaEmbeddings.create_position_ids_from_input_ids(torch.tensor([text]), padding_idx=1)[0]
        for text in texts
    ]
    assert token_positions(packed, lengths, 1).equal(torch.cat(expected))
    assert token_positions(packed, lengths, None).equal(torch.cat([torch.arange(n) for n in lengths]))
