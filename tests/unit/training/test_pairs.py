"""Lines of text into training pairs."""

import hashlib
from pathlib import Path

import pytest

from app.core.errors import BadInputError, TooLargeError
from app.training.pairs import TextPairs, read_pairs, write_pairs
from app.training.pairs_split import TextPair


def read(text: str, *, hard_negatives: bool = False) -> TextPairs:
    return read_pairs(text, hard_negatives=hard_negatives, max_pairs=4, max_chars=20)


def test_lines_of_two_stripped_parts_are_pairs() -> None:
    assert read(" a \tb\r\nc\t d e \n").pairs == (TextPair("a", "b"), TextPair("c", "d e"))


def test_other_lines_are_counted_and_blank_ones_are_not() -> None:
    pairs = read("a\tb\n\n  \nno tab\nc\t\n\td\na\tb\tc\n")
    assert pairs.pairs == (TextPair("a", "b"),)
    assert pairs.n_ignored == 4


def test_only_line_ends_end_lines() -> None:
    assert read("a\u2028b\tc\x0bd").pairs == (TextPair("a\u2028b", "c\x0bd"),)


def test_a_third_part_is_a_hard_negative_when_asked_for() -> None:
    pairs = read("a\tb\tc\nd\te\n", hard_negatives=True)
    assert pairs.pairs == (TextPair("a", "b", "c"),)
    assert pairs.n_ignored == 1


@pytest.mark.parametrize("text", ["", "\n", "a", "a\tb\tc", "\t"])
def test_no_pair_at_all_is_an_error_that_says_how_lines_look(text: str) -> None:
    with pytest.raises(BadInputError, match="query, tab, passage"):
        read(text)


def test_too_much_is_refused() -> None:
    with pytest.raises(TooLargeError, match="At most 4"):
        read("a\tb\n" * 5)
    with pytest.raises(TooLargeError, match="20 characters"):
        read("a\t" + "b" * 21)


def test_the_dataset_is_written_with_its_checksum(tmp_path: Path) -> None:
    dataset = write_pairs(read("é\tb\nx"), tmp_path)
    content = (tmp_path / "dataset.jsonl").read_bytes()
    assert content.decode() == '{"query": "é", "positive": "b"}\n'
    assert (dataset.n_pairs, dataset.n_ignored) == (1, 1)
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()


def test_hard_negatives_are_written_too(tmp_path: Path) -> None:
    write_pairs(read("a\tb\tc", hard_negatives=True), tmp_path)
    assert (tmp_path / "dataset.jsonl").read_text() == '{"query": "a", "positive": "b", "negative": "c"}\n'
