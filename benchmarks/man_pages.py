"""A retrieval set from Debian's man pages: what a page's NAME line says of it finds the beginning of its DESCRIPTION.

The pages are those of the packages `manpages` and `manpages-dev`, which are downloaded (not installed) once.
"""

import gzip
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.checkpoints import CACHE

PACKAGES = ("manpages", "manpages-dev")
DOCUMENT_WORDS = 180

_COMMENT = re.compile(r'\\"')
_FONTS = re.compile(r"\\f(\[\w*\]|\(..|.)|\\[&/,|^%:c]|\\s[+-]?\d")
_CHARACTERS = {r"\-": "-", r"\(aq": "'", r"\(bu": "*", r"\(em": "-", r"\(en": "-", r"\e": "\\", r"\ ": " ", r"\~": " "}
_FONT_MACROS = ("B", "I", "R", "BI", "BR", "IB", "IR", "RB", "RI", "SM", "SB")
_ARGUMENT = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True, slots=True)
class ManPage:
    """A query and the one document that answers it."""

    name: str
    """`open.2`"""
    query: str
    document: str


def man_pages() -> list[ManPage]:
    """The set in alphabetical order, without pages that only refer to others or share their text with another."""
    by_document = {page.document: page for page in _read(_folder()) if page.document and page.query}
    return sorted(by_document.values(), key=lambda page: page.name)


def _folder() -> Path:
    folder = CACHE / "man-pages"
    if not folder.exists():
        unfinished = CACHE / "man-pages.unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        # Debian's tools; on another system put the unpacked packages there by hand.
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=unfinished, check=True)
        for package in unfinished.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, unfinished], check=True)
        unfinished.rename(folder)
    return folder


def _read(folder: Path) -> Iterator[ManPage]:
    for file in sorted((folder / "usr/share/man").glob("man[1-8]/*.gz")):
        sections = _sections(gzip.decompress(file.read_bytes()).decode("utf-8", "replace"))
        _, _, description = sections.get("NAME", "").partition(" - ")
        words = sections.get("DESCRIPTION", "").split()
        yield ManPage(file.stem, description.strip(), " ".join(words[:DOCUMENT_WORDS]))


def _sections(source: str) -> dict[str, str]:
    """Plain text by heading, of a page in troff's `man` macros."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
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
    return {heading: " ".join(lines) for heading, lines in sections.items()}


def _plain(text: str) -> str:
    text = _COMMENT.split(text)[0]
    for escape, character in _CHARACTERS.items():
        text = text.replace(escape, character)
    return _FONTS.sub("", text)
