"""The vocabulary of the untrained text models."""

from hypothesis import given
from hypothesis import strategies as st
from transformers import XLMRobertaTokenizer

from app.starter.vocabulary import SPECIAL_TOKENS, WORDS, unigram_pieces

PIECES = unigram_pieces()
TOKENIZER = XLMRobertaTokenizer(vocab=PIECES)


def test_pieces_are_unique_and_the_special_tokens_have_xlm_robertas_ids() -> None:
    names = [name for name, _ in PIECES]
    assert len(set(names)) == len(names)
    assert tuple(names[:4]) == SPECIAL_TOKENS
    assert names[-1] == "<mask>"


def test_english_words_take_a_few_pieces() -> None:
    assert len(TOKENIZER.tokenize(" ".join(WORDS))) / len(WORDS) < 3
    assert len(TOKENIZER.tokenize("retrieval")) > 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_has_ids(text: str) -> None:
    ids = TOKENIZER(text).input_ids
    assert ids[0] == 0
    assert ids[-1] == 2
    assert max(ids) < len(PIECES)
