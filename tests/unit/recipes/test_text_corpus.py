"""No text of the test set is trained on, in whatever language or package it comes."""

from recipes.text.corpus import HeldOut, Pair
from recipes.text.man_pages import ManPage

DOCUMENT = "The open() system call opens the file specified by pathname, whatever it is, and returns a descriptor."
TEST = ManPage("open.2", "en", "open and possibly create a file", DOCUMENT)
HELD_OUT = HeldOut([TEST], {"open.2", "openat.2", "queue.3"})


def page(name: str, language: str = "en", document: str = "Some text.", query: str = "do something") -> ManPage:
    return ManPage(name, language, query, document)


def test_pages_of_test_names_are_left_out() -> None:
    found = [page("open.2", "de"), page("open.3posix", document="x"), page("OPENAT.2", document="y"), page("queue.3")]
    assert HELD_OUT.without(found) == []


def test_a_copy_under_another_name_is_left_out() -> None:
    revised = DOCUMENT.replace("returns a descriptor", "may fail")
    assert HELD_OUT.without([page("fopen_like.2", document=revised)]) == []


def test_a_translation_filed_under_another_name_is_left_out() -> None:
    german = "Der Systemaufruf öffnet eine Datei."
    assert HELD_OUT.without([page("open.2", "de", german), page("oeffne.2", "de", german)]) == []


def test_other_pages_stay() -> None:
    others = [page("close.1"), page("reopen.2", "fr", "Autre texte.")]
    assert HELD_OUT.without(others) == others


def test_queries_of_the_test_set_are_not_trained_on() -> None:
    assert not HELD_OUT.allows(Pair("gloss", "Open, and possibly create a FILE.", "x", "", ""))
    assert not HELD_OUT.allows(Pair("message", "eine Datei öffnen", "x", "open and possibly create a file", ""))
    assert HELD_OUT.allows(Pair("gloss", "open a file", "x", "", ""))
