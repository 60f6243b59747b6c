"""Man pages in several languages: what a NAME line says of a page, and the beginning of its DESCRIPTION."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes.debian import unpacked

DOCUMENT_WORDS = 180

DESCRIPTION = {
    "en": "DESCRIPTION",
    "de": "BESCHREIBUNG",
    "fr": "DESCRIPTION",
    "es": "DESCRIPCIÓN",
    "pl": "OPIS",
    "pt_BR": "DESCRIÇÃO",
    "ru": "ОПИСАНИЕ",
    "it": "DESCRIZIONE",
    "nl": "BESCHRIJVING",
    "uk": "ОПИС",
}
"""The section's heading by language; the languages are named as the folders of `/usr/share/man` are."""

TRANSLATIONS = tuple(language for language in DESCRIPTION if language != "en")

TEST_PACKAGES = ("manpages", "manpages-dev")

_COMMENT = re.compile(r'\\"')
_FONTS = re.compile(r"\\f(\[\w*\]|\(..|.)|\\[&/,|^%:c]|\\s[+-]?\d")
_CHARACTERS = {r"\-": "-", r"\(aq": "'", r"\(bu": "*", r"\(em": "-", r"\(en": "-", r"\e": "\\", r"\ ": " ", r"\~": " "}
_FONT_MACROS = ("B", "I", "R", "BI", "BR", "IB", "IR", "RB", "RI", "SM", "SB")
_ARGUMENT = re.compile(r'"([^"]*)"|(\S+)')
_MDOC_WORD = re.compile(r"^[A-Z][a-z]$")


@dataclass(frozen=True, slots=True)
class ManPage:
    """A query and the one document that answers it."""

    name: str
    """`open.2`"""
    language: str
    query: str
    """What the NAME line says behind the dash; may be empty."""
    document: str
    """The first 180 words of DESCRIPTION; may be empty."""


def held_out_pages() -> list[ManPage]:
    """The English test set in alphabetical order, without pages that only refer to others or share their text."""
    found = [page for package in TEST_PACKAGES for page in pages(package)]
    by_document = {page.document: page for page in found if page.document and page.query}
    return sorted(by_document.values(), key=lambda page: page.name)


def held_out_names() -> set[str]:
    """The names of all pages in the test packages, with those that only refer to another page."""
    return {file.stem for package in TEST_PACKAGES for file in (unpacked(package) / "usr/share/man").glob("man*/*.gz")}


def translated_pages(language: str) -> list[ManPage]:
    """Every page of manpages-l10n in the language."""
    suffix = language.lower().replace("_", "-")
    return [page for end in ("", "-dev") for page in pages(f"manpages-{suffix}{end}", language)]


def base_name(page: str) -> str:
    """`open` for `open.2` and for `open.3posix`."""
    return page.rpartition(".")[0].lower()


def pages(package: str, language: str = "en") -> Iterator[ManPage]:
    """The pages of a Debian package in one language, in the order of their files."""
    root = unpacked(package) / "usr/share/man"
    folder = root if language == "en" else root / language
    for file in sorted(folder.glob("man*/*.gz")):
        if file.is_file():
            yield read_page(file, language)


def read_page(file: Path, language: str = "en") -> ManPage:
    """A gzipped page in troff's `man` or `mdoc` macros."""
    source = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
    sections = _sections(source)
    name_line = sections.get("NAME", "") if language == "en" else next(iter(sections.values()), "")
    _, _, description = name_line.partition(" - ")
    words = sections.get(DESCRIPTION[language], "").split()
    return ManPage(file.stem, language, description.strip(), " ".join(words[:DOCUMENT_WORDS]))


def _sections(source: str) -> dict[str, str]:
    """Plain text by heading."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    is_mdoc = re.search(r"^\.Dd ", source, re.MULTILINE) is not None
    for line in source.splitlines():
        macro, _, arguments = line[1:].partition(" ") if line.startswith((".", "'")) else ("", "", line)
        if macro in ("SH", "Sh"):
            lines = sections.setdefault(arguments.strip(' "'), [])
        elif not macro or macro in ("SS", "TP", "IP"):
            lines.append(_plain(arguments))
        elif macro in _FONT_MACROS:
            parts = [quoted or bare for quoted, bare in _ARGUMENT.findall(_COMMENT.split(arguments)[0])]
            # `.BR open (2)` alternates between two fonts without a space.
            lines.append(_plain((" " if len(macro) == 1 else "").join(parts)))
        elif is_mdoc and _MDOC_WORD.match(macro):
            lines.append(_mdoc_line(macro, arguments))
    return {heading: " ".join(lines) for heading, lines in sections.items()}


def _mdoc_line(macro: str, arguments: str) -> str:
    """`.Nd get a file` -> `- get a file`; `.Xr open 2 ,` -> `open 2 ,`. A line may call further macros by name."""
    words = [word for word in _plain(arguments).split() if not _MDOC_WORD.match(word)]
    return " ".join(["-", *words] if macro == "Nd" else words)


def _plain(text: str) -> str:
    text = _COMMENT.split(text)[0]
    for escape, character in _CHARACTERS.items():
        text = text.replace(escape, character)
    return _FONTS.sub("", text)
