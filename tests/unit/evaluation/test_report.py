"""Tables of figures."""

import json
from pathlib import Path

from app.evaluation.report import Table, markdown, write_json


def test_a_table_leaves_missing_cells_empty_and_puts_numbers_right() -> None:
    assert markdown([{"model": "a", "score": 0.5}, {"model": "b|c", "n": 12}]).splitlines() == [
        "| model | score |  n |",
        "| ----- | ----: | -: |",
        "| a     | 0.500 |    |",
        r"| b\|c  |       | 12 |",
    ]


def test_json_keeps_four_decimals(tmp_path: Path) -> None:
    write_json([Table("Pages", "What it is.", [{"model": "ü", "score": 1 / 3}])], tmp_path / "new/figures.json")
    written = json.loads((tmp_path / "new/figures.json").read_text(encoding="utf-8"))
    assert written == {"tables": [{"title": "Pages", "note": "What it is.", "rows": [{"model": "ü", "score": 0.3333}]}]}
