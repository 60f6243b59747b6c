"""Writes the retrieval set that `app eval` reads: queries in seven languages, documents in English.

.venv/bin/python -m recipes.text.evaluation_set
"""

import gzip
import json
from pathlib import Path
from typing import Any

from recipes.text.man_pages import ManPage, held_out_pages, translated_pages

FILE = Path(__file__).parents[2] / "app" / "evaluation" / "data" / "man_pages.json.gz"

LANGUAGES = ("de", "fr", "es", "pl", "pt_BR", "ru")
"""Those into which more than 150 of the test pages are translated."""


def retrieval_set() -> dict[str, Any]:
    """`documents` (id, text) and `queries` (id, lang, text, relevant: the one document that answers it)."""
    pages = held_out_pages()
    names = {page.name for page in pages}
    original = {page.query for page in pages}
    translated = [
        page
        for language in LANGUAGES
        for page in sorted(translated_pages(language), key=lambda page: page.name)
        if page.name in names and page.query and page.query not in original
    ]
    return {
        "documents": [{"id": page.name, "text": page.document} for page in pages],
        "queries": [_query(page) for page in (*pages, *translated)],
    }


def _query(page: ManPage) -> dict[str, Any]:
    return {"id": page.name, "lang": page.language, "text": page.query, "relevant": [page.name]}


if __name__ == "__main__":
    content = json.dumps(retrieval_set(), ensure_ascii=False, indent=0).encode()
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
