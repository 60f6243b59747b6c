"""Dictionaries, glosses and message catalogs of Debian packages, as pairs of texts."""

import gettext
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from recipes.debian import unpacked

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PRONUNCIATION = re.compile(r"/[^/]*/|<[^>]*>|\[[^\]]*\]|\([^)]*\)")
_MARKUP = re.compile(r"<[^>]*>|&[a-z]+;|[{}_&]|\\n")
_FORMAT = re.compile(r"%[-\d$.]*[a-z]|\$\w+|\{\w*\}")


def entries(package: str) -> Iterator[tuple[str, str]]:
    """(headword, text of the entry) of a dictd dictionary, in its order."""
    (index,) = (unpacked(package) / "usr/share/dictd").glob("*.index")
    text = gzip.decompress(index.with_suffix(".dict.dz").read_bytes())
    for line in index.read_text(encoding="utf-8").splitlines():
        headword, offset, length = line.split("\t")[:3]
        if not headword.startswith("00"):
            start = _number(offset)
            yield headword, text[start : start + _number(length)].decode("utf-8", "replace")


def translations(package: str) -> Iterator[tuple[str, str]]:
    """(word, its first translation) of a FreeDict dictionary."""
    for _, entry in entries(package):
        lines = [_PRONUNCIATION.sub("", line).strip() for line in entry.splitlines()]
        meanings = [re.sub(r"^\d+\. *", "", line) for line in lines[1:] if line]
        if lines and lines[0] and meanings and not meanings[0].endswith(":"):
            yield lines[0], re.split(r"[,;]", meanings[0])[0].strip()


def explanations(package: str) -> Iterator[tuple[str, str]]:
    """(term, what it means) of a dictionary in prose such as FOLDOC."""
    for headword, entry in entries(package):
        text = " ".join(_MARKUP.sub(" ", " ".join(entry.splitlines()[1:])).split())
        if len(text.split()) > 4:
            yield headword, text


def glosses() -> Iterator[tuple[str, str]]:
    """(synonyms, gloss with examples) of WordNet."""
    for kind in ("noun", "verb", "adj", "adv"):
        file = unpacked("wordnet-base") / "usr/share/wordnet" / f"data.{kind}"
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            data, _, gloss = line.partition(" | ")
            fields = data.split(" ")
            words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            yield ", ".join(re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words), gloss.strip()


def messages(package: str, language: str) -> Iterator[tuple[str, str]]:
    """(message in the language, its English original) of the catalogs of a package."""
    for file in sorted(unpacked(package).rglob(f"{language}/LC_MESSAGES/*.mo")):
        yield from _catalog(file)


def _catalog(file: Path) -> Iterator[tuple[str, str]]:
    with file.open("rb") as stream:
        catalog = gettext.GNUTranslations(stream)
    for original, translated in catalog._catalog.items():  # type: ignore[attr-defined]
        if not isinstance(original, str) or not original:
            continue
        # A context that tells equal messages apart precedes the byte 4 or a caret.
        pair = (_message(translated), _message(re.sub(r"^[^\x04]*\x04|^[\w ]*\^", "", original)))
        if all(pair) and pair[0] != pair[1]:
            yield pair


def _message(text: str) -> str:
    text = _FORMAT.sub(" ", _MARKUP.sub(" ", text)).replace("\x00", " ")
    return " ".join(text.split())


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = 64 * value + _DIGITS.index(digit)
    return value
