"""The figures of the starter models, beside untrained ones of their families: `make eval`.

    .venv/bin/python -m recipes.evaluate [--json FILE]

It serves `starter.toml` and asks over HTTP, with the same code as `python -m app eval`, which measures any other model.
"""

import argparse
import logging
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from app import starter
from app.core.errors import ManyvecError
from app.evaluation.client import ServerClient
from app.evaluation.evaluate import evaluate
from app.evaluation.report import Row, Table, markdown, write_json
from app.evaluation.sets import DATA
from recipes.cards import Card, write_card
from recipes.serving import ROOT, Entry, serving

MODELS = ROOT / "models"


def evaluate_checkpoint(folder: Path, family: str, *, sets: Path = DATA) -> list[Row]:
    """Serve a checkpoint and the untrained one of its family, and measure both on the sets that suit them.

    Returns the rows of all tables, anchors at the end: what a model card shows. Raises `EvaluationError`, or
    RuntimeError if the server does not start.
    """
    entry = Entry(folder.name, family, folder)
    return [row for table in _tables([entry, _untrained(family)], sets) for row in table.rows]


def measure(folder: Path, card: Card) -> None:
    """Write the card of a new checkpoint, with its figures; print size and figures. Raises as above."""
    rows = evaluate_checkpoint(folder, card.family)
    write_card(folder, replace(card, figures=rows))
    n_megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    print(f"{folder}: {n_megabytes:.1f} MB\n{markdown(rows)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the whole table; returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure the starter models beside untrained ones.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    try:
        tables = _tables(list(_starter_entries()), DATA)
        print("\n\n".join(map(str, tables)))
        if options.json:
            write_json(tables, options.json)
    except (ManyvecError, RuntimeError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


def _tables(entries: Sequence[Entry], sets: Path) -> list[Table]:
    # Its lines of every request would drown the table.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with serving(entries) as url, ServerClient.connect(url) as client:
        return evaluate(client, [entry.name for entry in entries], folder=sets)


def _starter_entries() -> Iterator[Entry]:
    """What `make run` serves; an untrained model of the same family behind every trained one."""
    for model in tomllib.loads((ROOT / "starter.toml").read_text(encoding="utf-8"))["model"]:
        if model.get("trained", True):
            yield Entry(model["name"], model["family"], MODELS / model["checkpoint"])
        yield _untrained(model["family"])


def _untrained(family: str) -> Entry:
    starter.ensure(MODELS)
    return Entry(f"{family}-untrained", family, MODELS / starter.UNTRAINED / family, trained=False)


if __name__ == "__main__":
    sys.exit(main())
