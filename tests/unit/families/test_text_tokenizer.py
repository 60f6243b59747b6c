"""Texts of any length into token ids, by several threads at once."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Encoding
from transformers import AutoTokenizer

from app.core.errors import ModelLoadError
from app.families.base import Checkpoint
from app.families.text_tokenizer import CHARS_A_TOKEN, TextTokenizer

LIMIT = 16


@pytest.fixture(scope="module")
def tokenizer(checkpoints: dict[str, Path]) -> TextTokenizer:
    return TextTokenizer.load(Checkpoint(checkpoints["e5"]), LIMIT)


@pytest.fixture(scope="module")
def reference(checkpoints: dict[str, Path]) -> AutoTokenizer:
    return AutoTokenizer.from_pretrained(checkpoints["e5"])


texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from(["word", "a", "検索", "<mask>", "</s>", " ", "\n", "\t", "é", "\u0301", "x" * 50])).map(
        " ".join
    ),
    st.text(st.sampled_from("ab \n\u0301\u200d🦊"), max_size=2000),
)


@given(text=texts)
def test_ids_are_those_of_the_tokenizers_own_truncation(
    tokenizer: TextTokenizer, reference: AutoTokenizer, text: str
) -> None:
    [ours] = tokenizer.tokenize([text])
    assert ours.ids.tolist() == reference(text, truncation=True, max_length=LIMIT).input_ids
    assert ours.truncated == (len(reference(text).input_ids) > LIMIT)
    [with_pieces] = tokenizer.tokenize([text], with_pieces=True)
    assert with_pieces.ids.equal(ours.ids)
    assert len(with_pieces.pieces) == len(ours.ids) - 2


def test_a_tokenizer_that_nobody_needs_leaves_memory(checkpoints: dict[str, Path]) -> None:
    tokenizer = TextTokenizer.load(Checkpoint(checkpoints["e5"]), LIMIT)
    assert tokenizer.token_text(5)
    gone = weakref.ref(tokenizer)
    gc.disable()
    try:
        del tokenizer
        assert gone() is None
    finally:
        gc.enable()


def test_pieces_are_of_the_text_alone(tokenizer: TextTokenizer) -> None:
    [tokenized] = tokenizer.tokenize(["the telescope"], with_pieces=True)
    assert "".join(tokenized.pieces) == "▁the▁telescope"


def test_of_a_long_text_only_the_head_is_tokenized(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    encode = TextTokenizer._encode

    def spy(self: TextTokenizer, texts: list[str], with_pieces: bool) -> list[Encoding]:
        lengths.extend(map(len, texts))
        return encode(self, texts, with_pieces)

    monkeypatch.setattr(TextTokenizer, "_encode", spy)
    assert tokenizer.tokenize(["telescope " * 40_000])[0].truncated
    assert sum(lengths) <= LIMIT * CHARS_A_TOKEN
    lengths.clear()
    assert tokenizer.tokenize(["x" * 400_000])[0].truncated, "no space to cut at"
    assert lengths == [400_000]


def test_texts_of_all_lengths_together_are_as_each_alone(tokenizer: TextTokenizer) -> None:
    """Those whose heads are too few tokens are read further, and the others keep their places."""
    texts = ["telescope " * 4000, "short", "a" * 200 + " " + "b " * 400, " " * 3000 + "end", "", "x" * 5000]
    for with_pieces in (False, True):
        alone = [tokenizer.tokenize([text], with_pieces=with_pieces)[0] for text in texts]
        for one, together in zip(alone, tokenizer.tokenize(texts, with_pieces=with_pieces), strict=True):
            assert together.ids.equal(one.ids)
            assert (together.truncated, together.pieces) == (one.truncated, one.pieces)


def test_threads_do_not_disturb_each_other(tokenizer: TextTokenizer) -> None:
    texts = [f"text {i} " + "of some length " * (i % 7) for i in range(200)]
    expected = [tokenized.ids.tolist() for tokenized in tokenizer.tokenize(texts)]
    start = threading.Barrier(8)

    def tokenize_all() -> list[list[int]]:
        start.wait()
        return [tokenized.ids.tolist() for tokenized in tokenizer.tokenize(texts)]

    with ThreadPoolExecutor(8) as threads:
        results = [future.result() for future in [threads.submit(tokenize_all) for _ in range(8)]]
    assert all(result == expected for result in results)


def test_truncation_in_the_checkpoints_files_is_switched_off(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    """Some published tokenizers carry a truncation and a padding of their own."""
    saved = AutoTokenizer.from_pretrained(checkpoints["e5"])
    saved.backend_tokenizer.enable_truncation(4)
    saved.backend_tokenizer.enable_padding(length=32)
    saved.save_pretrained(tmp_path)
    [tokenized] = TextTokenizer.load(Checkpoint(tmp_path), LIMIT).tokenize(["the water policy report"])
    assert 4 < len(tokenized.ids) < 32
    assert not tokenized.truncated


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="tokenizer"):
        TextTokenizer.load(Checkpoint(tmp_path), LIMIT)
