"""The texts that the starters learn from: pairs that belong together, from man pages, dictionaries and messages.

No page of the test set is among them, nor any other page of its name: not in another language, section or package.
"""

import random
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import TypeVar

from recipes.text import dictionaries
from recipes.text.man_pages import ManPage, base_name, held_out_names, held_out_pages, pages, translated_pages

Item = TypeVar("Item", str, tuple[str, str])

SEED = 20
LANGUAGES = ("de", "fr", "es", "pl", "pt_BR", "ru")
SOURCE_WORDS = 64
"""What the teacher reads of a document: as much as is told in its first sentences, in a third of the time."""

_MAN_PAGE_PACKAGES = """
    freebsd-manpages perl-doc libssl-doc erlang-manpages libcurl4-doc tcllib libx11-doc tcl8.6-doc git-man tk8.6-doc
    libsystemd-dev systemd libibverbs-dev iproute2 ncurses-doc coreutils texlive-binaries devscripts util-linux postfix
    debhelper libselinux1-dev slapd lvm2 librdmacm-dev groff dpkg-dev libbsd-dev libsasl2-dev libaudit-dev gawk
    cryptsetup-bin libacl1-dev rrdtool libkeyutils-dev nfs-common passwd xfsprogs btrfs-progs mariadb-client e2fsprogs
    allegro4-doc openmpi-doc netpbm podman docker.io libsdl1.2-dev libmoose-perl inn2 liburing-dev libzmq3-dev
    binutils-common procps x11-utils x11-xserver-utils apt dpkg openssh-client bind9-utils samba-common-bin
    libarchive-dev
"""
MAN_PAGE_PACKAGES = tuple(_MAN_PAGE_PACKAGES.split())
MESSAGE_PACKAGES = (
    "wesnoth-1.16-data",
    "gnome-control-center-data",
    "nautilus-data",
    "gramps",
    "gnucash-common",
    "evolution-common",
    "gimp-data",
    "libgtk-3-common",
)
MAX_MESSAGE_WORDS = 60
DICTIONARIES = {
    # By package: whether the headwords are the English side.
    "dict-freedict-deu-eng": False,
    "dict-freedict-fra-eng": False,
    "dict-freedict-eng-fra": True,
    "dict-freedict-spa-eng": False,
    "dict-freedict-eng-spa": True,
    "dict-freedict-eng-pol": True,
    "dict-freedict-por-eng": False,
    "dict-freedict-eng-por": True,
    "dict-freedict-eng-rus": True,
}
MAX_MESSAGES = 14_000
"""Originals, each in every language that has it."""
MAX_WORDS = 8_000
"""Of one dictionary."""
MAX_GLOSSES = 30_000
MAX_TERMS = 6_000


@dataclass(frozen=True, slots=True)
class Pair:
    """A text that asks and a text that answers; both may be in another language than their English originals."""

    kind: str
    """`page`, `translated page`, `gloss`, `term`, `message` or `word`."""
    query: str
    document: str
    query_source: str
    """The English text whose vector the teacher gives for the query; empty if there is none."""
    document_source: str


def pairs() -> list[Pair]:
    """Everything, in an order that is always the same."""
    held_out = HeldOut(held_out_pages(), held_out_names())
    english = _distinct(page for package in MAN_PAGE_PACKAGES for page in held_out.without(pages(package)))
    found = chain(
        map(_page_pair, english),
        _translated_pairs(english, held_out),
        _glosses(),
        _terms(),
        _messages(),
        _words(),
    )
    return [pair for pair in found if pair.query and pair.document and held_out.allows(pair)]


class HeldOut:
    """Knows what belongs to the test set, and to the packages it was taken from."""

    def __init__(self, test: Collection[ManPage], names: Collection[str]) -> None:
        """`names` are those of all pages of the test packages, of second names for the same page too: `openat.2`."""
        self._names = {base_name(name) for name in names}
        self._queries = {_normalized(page.query) for page in test}
        self._openings = {_opening(page.document) for page in test}

    def without(self, found: Iterable[ManPage]) -> list[ManPage]:
        """The pages of one language that may be trained on."""
        found = list(found)
        # A page that a translator filed under another name is known by the text that it shares.
        excluded = {page.document for page in found if self._has(page)}
        return [page for page in found if page.document not in excluded]

    def allows(self, pair: Pair) -> bool:
        """Whether the pair asks nothing that the test set asks word by word."""
        return not {_normalized(pair.query), _normalized(pair.query_source)} & self._queries

    def _has(self, page: ManPage) -> bool:
        return base_name(page.name) in self._names or _opening(page.document) in self._openings


def _distinct(found: Iterable[ManPage]) -> list[ManPage]:
    """One page a document, without pages that lack one half."""
    return list({page.document: page for page in found if page.query and page.document}.values())


def _page_pair(page: ManPage) -> Pair:
    return Pair("page", page.query, page.document, page.query, _beginning(page.document))


def _translated_pairs(english: Collection[ManPage], held_out: HeldOut) -> Iterator[Pair]:
    """A translated description asks for the translated text, and for the original where there is one."""
    originals = {page.name: page for page in english}
    for language in LANGUAGES:
        for page in _distinct(held_out.without(translated_pages(language))):
            original = originals.get(page.name)
            if original is None:
                yield Pair("translated page", page.query, page.document, "", "")
                continue
            source, document_source = original.query, _beginning(original.document)
            yield Pair("translated page", page.query, original.document, source, document_source)
            yield Pair("translated page", original.query, page.document, source, document_source)


def _glosses() -> list[Pair]:
    found = _sample(dictionaries.glosses(), MAX_GLOSSES)
    return [Pair("gloss", words, gloss, words, gloss) for words, gloss in found]


def _terms() -> list[Pair]:
    found = chain.from_iterable(map(dictionaries.explanations, ("dict-foldoc", "dict-jargon")))
    terms = [(term, _beginning(text)) for term, text in _sample(found, MAX_TERMS)]
    return [Pair("term", term, text, term, text) for term, text in terms]


def _messages() -> Iterator[Pair]:
    translated: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    for language, package in product(LANGUAGES, MESSAGE_PACKAGES):
        for text, original in dictionaries.messages(package, language):
            if len(original.split()) <= MAX_MESSAGE_WORDS:
                translated[language].setdefault(original, text)
    originals = _sample(set().union(*translated.values()), MAX_MESSAGES)
    for language, original in product(LANGUAGES, originals):
        if original in translated[language]:
            yield Pair("message", translated[language][original], original, original, original)


def _words() -> Iterator[Pair]:
    for package, is_from_english in DICTIONARIES.items():
        found = {pair[::-1] if is_from_english else pair for pair in dictionaries.translations(package)}
        for word, english in _sample(found, MAX_WORDS):
            yield Pair("word", word, english, english, english)


def _sample(found: Iterable[Item], limit: int) -> list[Item]:
    distinct = sorted(set(found))
    if len(distinct) <= limit:
        return distinct
    return random.Random(SEED).sample(distinct, limit)


def _beginning(text: str) -> str:
    return " ".join(text.split()[:SOURCE_WORDS])


def _normalized(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _opening(text: str) -> str:
    """A page's first words, by which copies and revisions of it are known."""
    return _normalized(" ".join(text.split()[:12]))
