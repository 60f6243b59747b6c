"""A Unigram vocabulary of the corpus, with XLM-RoBERTa's special tokens and sentencepiece's normalization."""

import importlib
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import XLMRobertaTokenizer

from app.starter.vocabulary import HAN, SCRIPTS, SPECIAL_TOKENS
from recipes import CACHE
from recipes.text.wheels import unpacked_wheel

REQUIREMENT = "sentencepiece==0.2.3"
N_PIECES = 16_000
"""Special tokens included."""

NORMALIZATION = "nmt_nfkc_cf"
"""XLM-RoBERTa's with case folding: a small model cannot afford to learn every word twice."""


def tokenizer(texts: Iterable[str], max_tokens: int) -> XLMRobertaTokenizer:
    """The tokenizer for the corpus; trained on first use. One thread, so that the same texts give the same pieces."""
    path = CACHE / "text" / "vocabulary.model"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _train(texts, path)
    proto = _sentencepiece("sentencepiece.sentencepiece_model_pb2").ModelProto.FromString(path.read_bytes())
    pieces = [(piece.piece, piece.score) for piece in proto.pieces if piece.type == piece.NORMAL]
    vocabulary = [*((token, 0.0) for token in SPECIAL_TOKENS), *pieces, ("<mask>", 0.0)]
    return XLMRobertaTokenizer(
        vocab=vocabulary,
        _spm_precompiled_charsmap=proto.normalizer_spec.precompiled_charsmap,
        model_max_length=max_tokens,
    )


def _train(texts: Iterable[str], path: Path) -> None:
    written = io.BytesIO()
    _sentencepiece("sentencepiece").SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="unigram",
        # Two of the three tokens that sentencepiece adds are replaced by five of XLM-RoBERTa's.
        vocab_size=N_PIECES - len(SPECIAL_TOKENS) - 1 + 3,
        normalization_rule_name=NORMALIZATION,
        required_chars="".join(_characters()),
        character_coverage=0.9998,
        max_sentencepiece_length=16,
        split_digits=True,
        num_threads=1,
        minloglevel=1,
    )
    path.write_bytes(written.getvalue())


def _characters() -> Sequence[str]:
    """Characters of many scripts, so that hardly any text becomes unknown tokens; capitals are folded away."""
    ranges = (map(chr, range(first, last + 1)) for first, last in SCRIPTS)
    found = dict.fromkeys(character for characters in (*ranges, HAN) for character in characters)
    return [character for character in found if character == character.casefold()]


def _sentencepiece(module: str) -> Any:
    folder = str(unpacked_wheel(REQUIREMENT))
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)
