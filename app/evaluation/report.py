"""Figures as tables: for the screen, and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.evaluation.errors import EvaluationError

Row = Mapping[str, str | int | float | None]
"""Named cells; a row may leave cells out."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured on one set."""

    title: str
    note: str
    """What the set and the columns are."""
    rows: Sequence[Row]

    def __str__(self) -> str:
        return "\n\n".join([f"### {self.title}", self.note, markdown(self.rows)])


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table: columns in the order of their first use, numbers to the right, floats with three decimals."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_shown(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in [columns, *cells]) for i in range(len(columns))]
    right = [any(isinstance(row.get(column), int | float) for row in rows) for column in columns]

    def line(values: Sequence[str]) -> str:
        padded = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * (w - 1)}:" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(columns), line(rule), *map(line, cells)])


def write_json(tables: Sequence[Table], path: Path) -> None:
    """Write the tables, floats with four decimals. Raises `EvaluationError` if the file cannot be written."""
    content = {"tables": [asdict(table) | {"rows": [_rounded(row) for row in table.rows]} for table in tables]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path} cannot be written: {error.strerror}.") from error


def _rounded(row: Row) -> Row:
    return {column: round(value, 4) if isinstance(value, float) else value for column, value in row.items()}


def _shown(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", r"\|")
