"""The small visual checkpoints that are built on first use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.starter.visual import build_colpali, build_colqwen2, build_colqwen2_5
from app.starter.visual_tokenizers import gemma_tokenizer, qwen2_tokenizer

BUILDERS = [build_colqwen2_5, build_colqwen2, build_colpali]
TEXTS = [
    "The quarterly revenue of Germany rose by 12%.",
    " spaces  kept ",
    "日本語 🦊 ﷽ \u0000\u0301 \n\t",
    "Größe",
]


@pytest.mark.parametrize("build", BUILDERS)
def test_the_same_bytes_every_time(build: Callable[[Path], None], tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        build(folder)
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert contents[0] == contents[1]
    assert sum(map(len, contents[0].values())) < 4_000_000
    assert b"untrained" in contents[0]["README.md"]


@pytest.mark.parametrize("make", [qwen2_tokenizer, gemma_tokenizer])
def test_any_text_comes_back_from_its_ids(make: Callable[[], object]) -> None:
    tokenizer = make().backend_tokenizer
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        # Qwen's tokenizer composes characters first, so the text is given in that form.
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("make", [qwen2_tokenizer, gemma_tokenizer])
def test_english_words_take_a_few_pieces(make: Callable[[], object]) -> None:
    sentence = "the revenue of the company increased in the third quarter of the year"
    n_pieces = len(make().backend_tokenizer.encode(sentence, add_special_tokens=False).ids)
    assert len(sentence.split()) <= n_pieces <= 3 * len(sentence.split())
