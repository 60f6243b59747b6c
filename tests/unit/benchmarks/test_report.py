import json
from pathlib import Path

import pytest

from benchmarks.report import Report, Table, interleaved, ratio, shown


def test_ways_take_turns_after_the_warm_up() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=1)
    assert calls == ["a", "b"] * 4
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"a": 3, "b": 3}


def test_ratio_is_of_the_medians() -> None:
    assert ratio([4.0, 4.0, 100.0], [2.0, 2.0, 0.1]) == 2.0


def test_table_is_markdown_with_numbers_to_the_right() -> None:
    table = Table("T")
    table.row(way="ours", ms=1.5)
    table.row(way="peer")
    assert str(table).splitlines()[2:] == ["| way  |   ms |", "| ---- | ---: |", "| ours | 1.50 |", "| peer |      |"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.12345, "0.123"), (12.0, "12.0"), (1234.5, "1,234"), (1024, "1,024"), (None, ""), ("a", "a")]
)
def test_numbers_are_shown_to_three_digits(value: object, text: str) -> None:
    assert shown(value) == text


def test_report_writes_its_tables_and_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("trial", "A trial", folder=tmp_path)
    report.table("First", note="in ms").row(way="ours", ms=1.5)
    content = json.loads(report.finish().read_text())
    assert content["tables"] == [{"title": "First", "note": "in ms", "rows": [{"way": "ours", "ms": 1.5}]}]
    assert content["machine"]["cores"] >= 1
    assert "### First" in capsys.readouterr().out


def test_what_is_shown_stays_though_the_rest_is_never_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("trial", "A trial", folder=tmp_path)
    table = report.table("First")
    for n in (1, 2):
        table.row(round=n)
        report.show(table)
    (written,) = json.loads((tmp_path / "trial.json").read_text())["tables"]
    assert written["rows"] == [{"round": 1}, {"round": 2}]
    assert "### First" in capsys.readouterr().out
    report.finish()
    assert capsys.readouterr().out == ""
