"""A sentencepiece-like vocabulary that is the same on every machine.

The trainer of `tokenizers` gives another vocabulary on every run, so this one is counted instead: the
frequent substrings of a list of English words, and the single characters of many scripts.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

WORD_START = "▁"
"""How sentencepiece writes the space before a word."""

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
"""In XLM-RoBERTa's order; `<mask>` has the last id."""

MAX_PIECE_LENGTH = 8
MIN_COUNT = 2

SCRIPTS = (
    (0x21, 0x7E),  # ASCII
    (0xA1, 0x17F),  # Latin-1 Supplement, Latin Extended-A
    (0x391, 0x3C9),  # Greek
    (0x401, 0x451),  # Cyrillic
    (0x5D0, 0x5EA),  # Hebrew
    (0x621, 0x652),  # Arabic
    (0x905, 0x94D),  # Devanagari
    (0xE01, 0xE4E),  # Thai
    (0x2010, 0x2026),  # General Punctuation
    (0x20AC, 0x20AC),  # Euro sign
    (0x3001, 0x3002),  # CJK Punctuation
    (0x3041, 0x30FE),  # Hiragana, Katakana
)
HAN = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十"
    "用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便"
    "図書検索質問回答表画像東京語彙"
)

WORDS = tuple((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())


def unigram_pieces(n_substrings: int = 2000) -> list[tuple[str, float]]:
    """A Unigram vocabulary: (piece, log probability) in the order of the ids, about 900 more than `n_substrings`."""
    counts = Counter(piece for word in WORDS for piece in set(_substrings(WORD_START + word)))
    total = sum(counts.values())
    rare = math.log(1 / total)
    frequent = [piece for piece, count in counts.items() if count >= MIN_COUNT]
    # What a piece saves: the tokens that its characters would have been, in every word that has it.
    frequent.sort(key=lambda piece: (-counts[piece] * (len(piece) - 1), piece))
    scores = dict.fromkeys(_single_characters(), rare - 2) | {
        piece: round(math.log(counts[piece] / total), 6) for piece in frequent[:n_substrings]
    }
    return [*((token, 0.0) for token in SPECIAL_TOKENS), *scores.items(), ("<mask>", 0.0)]


def _substrings(text: str) -> Iterator[str]:
    for start in range(len(text)):
        for end in range(start + 2, min(start + MAX_PIECE_LENGTH, len(text)) + 1):
            yield text[start:end]


def _single_characters() -> Iterator[str]:
    yield WORD_START
    for first, last in SCRIPTS:
        yield from map(chr, range(first, last + 1))
    yield from dict.fromkeys(HAN)
