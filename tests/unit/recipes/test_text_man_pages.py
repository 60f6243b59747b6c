"""Man pages as pairs: what is read of a page, in which language, in which macros."""

import gzip
from pathlib import Path

import pytest

from recipes.text.man_pages import DOCUMENT_WORDS, base_name, read_page

ENGLISH = r"""
.TH open 2
.SH NAME
open, creat \- open and possibly create a file
.SH SYNOPSIS
.B #include <fcntl.h>
.SH DESCRIPTION
The
.BR open ()
system call opens the file at
.IR pathname . \" said below
It has \fIflags\fP\-a
.SH ERRORS
None.
"""
GERMAN = r"""
.SH BEZEICHNUNG
open \- eine Datei öffnen und möglicherweise erzeugen
.SH BESCHREIBUNG
Der Systemaufruf \fBopen\fP() öffnet die Datei.
"""
RUSSIAN = r"""
.SH ИМЯ
acct \- файл учёта процессов
.SH ОПИСАНИЕ
Ядро создаёт записи.
"""
MDOC = r"""
.Dd April 1, 2020
.Sh NAME
.Nm getpid
.Nd get process identification
.Sh DESCRIPTION
The
.Fn getpid
function returns the ID; see
.Xr getppid 2 .
"""


def write(folder: Path, source: str, name: str = "open.2") -> Path:
    file = folder / f"{name}.gz"
    file.write_bytes(gzip.compress(source.encode()))
    return file


def test_an_english_page(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, ENGLISH))
    assert (page.name, page.language) == ("open.2", "en")
    assert page.query == "open and possibly create a file"
    assert page.document == "The open() system call opens the file at pathname. It has flags-a"


@pytest.mark.parametrize(
    ("language", "source", "query", "document"),
    [
        ("de", GERMAN, "eine Datei öffnen und möglicherweise erzeugen", "Der Systemaufruf open() öffnet die Datei."),
        ("ru", RUSSIAN, "файл учёта процессов", "Ядро создаёт записи."),
    ],
)
def test_a_translated_page(tmp_path: Path, language: str, source: str, query: str, document: str) -> None:
    page = read_page(write(tmp_path, source), language)
    assert (page.query, page.document) == (query, document)


def test_a_page_in_mdoc_macros(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, MDOC))
    assert page.query == "get process identification"
    assert page.document == "The getpid function returns the ID; see getppid 2 ."


def test_a_document_is_cut(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, ".SH NAME\na \\- b\n.SH DESCRIPTION\n" + "word\n" * 500))
    assert len(page.document.split()) == DOCUMENT_WORDS


def test_a_page_that_refers_to_another_is_empty(tmp_path: Path) -> None:
    page = read_page(write(tmp_path, ".so man2/open.2"))
    assert (page.query, page.document) == ("", "")


def test_base_names() -> None:
    assert [base_name(name) for name in ("open.2", "Open.3posix", "git-config.1")] == ["open", "open", "git-config"]
