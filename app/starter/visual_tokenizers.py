"""Small tokenizers of the classes that ColQwen and ColPali use, trained on a list of words."""

import json
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX, Qwen2Tokenizer

from app.starter.vocabulary import WORD_START, WORDS

VOCABULARY_SIZE = 2048

QWEN_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""In Qwen2-VL's order; their ids follow those of the vocabulary."""

GEMMA_SPECIAL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
PALIGEMMA_TOKENS = (*(f"<loc{i:04}>" for i in range(1024)), *(f"<seg{i:03}>" for i in range(128)))
"""What PaliGemma's processor adds to a tokenizer that does not have them."""


def qwen2_tokenizer(
    words: Sequence[str] = WORDS, vocabulary_size: int = VOCABULARY_SIZE, bare: Sequence[str] = ()
) -> Qwen2Tokenizer:
    """Byte-level BPE: every text has ids.

    Given room enough, each of `words` has its own after a space and with a capital letter; `bare` ones at the very
    beginning of a text too.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _train(tokenizer, [*_forms(words, " "), *bare], vocabulary_size, [], alphabet)
    trained = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=32768)
    trained.add_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_SPECIAL_TOKENS])
    return trained


def gemma_tokenizer(
    words: Sequence[str] = WORDS, vocabulary_size: int = VOCABULARY_SIZE, bare: Sequence[str] = ()
) -> GemmaTokenizer:
    """BPE over characters; those that it does not know are spelled in UTF-8 bytes."""
    tokenizer = Tokenizer(BPE(byte_fallback=True))
    first = [*GEMMA_SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), "\n"]
    vocabulary, merges = _train(tokenizer, [*_forms(words, WORD_START), *bare], vocabulary_size, first, [])
    trained = GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True, model_max_length=8192)
    trained.add_tokens(list(PALIGEMMA_TOKENS))
    trained.add_tokens([AddedToken("<image>", special=True, normalized=False)])
    return trained


def _forms(words: Sequence[str], space: str) -> Iterator[str]:
    """Each word as it stands at the start of a sentence, and in the middle of one."""
    for word in words:
        yield from (word.capitalize(), space + word, space + word.capitalize())
    # Digits, punctuation and the letters of other languages, each as a token of its own.
    yield from map(chr, (*range(0x21, 0x7F), *range(0xA1, 0x180), *range(0x391, 0x3CA), *range(0x410, 0x450)))


def _train(
    tokenizer: Tokenizer, texts: Iterable[str], vocabulary_size: int, first: list[str], alphabet: list[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, `first` at its beginning, and the merges in the order of their ranks."""
    trainer = BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=first, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    return state["vocab"], [tuple(merge) for merge in state["merges"]]
