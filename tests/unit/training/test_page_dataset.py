"""A job's pairs of query and page as the trainer reads them."""

from pathlib import Path
from typing import Any, cast

import pytest

from app.training.page_dataset import PageReader, pages_by_query, read_dataset
from app.training.pairs_split import TextPair
from app.training.task import DATASET_FILE, TrainingFailedError

PAIRS = [TextPair("a", "1"), TextPair("b", "2"), TextPair("c", "1"), TextPair("a", "3")]


def test_pages_that_answer_a_query_are_known_across_a_batch() -> None:
    """The first and the third pair share a page, the first and the last one a query."""
    reader = PageReader(cast(Any, None), Path(), pages_by_query([*PAIRS, TextPair("b", "3")]))
    assert reader.relevant(PAIRS).int().tolist() == [[1, 0, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 1]]


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b'{"query": "a"}', b"\xff"])
def test_a_broken_dataset_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / DATASET_FILE).write_bytes(content)
    with pytest.raises(TrainingFailedError, match="missing or broken"):
        read_dataset(tmp_path)
