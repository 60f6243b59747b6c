"""What every benchmark shares: rounds in turn, medians, a table on the screen and a JSON file beside it.

report = Report("wire", "Arrays to bytes")
seconds = interleaved({"ours": ours, "peer": peer}, rounds=7)
table = report.table("One page, 768 x 128 floats", note="in milliseconds")
table.row(way="ours", ms=1000 * median(seconds["ours"]), ratio=ratio(seconds["peer"], seconds["ours"]))
report.finish()
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["RESULTS", "ROOT", "Report", "Table", "interleaved", "machine", "median", "ratio", "shown"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

PACKAGES = ("torch", "transformers", "numpy", "onnxruntime", "openvino", "sentence-transformers", "flash-attn")


class Table:
    """Rows of named cells; a row may leave cells out."""

    def __init__(self, title: str, note: str = "") -> None:
        self.title = title
        self.note = note
        self.rows: list[dict[str, Any]] = []

    def row(self, **cells: Any) -> None:
        """Add a row. Cells are numbers, texts or None; columns stand in the order of their first use."""
        self.rows.append(cells)

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def __str__(self) -> str:
        """A Markdown table: columns of numbers to the right, texts to the left."""
        columns = self.columns
        cells = [[shown(row.get(column)) for column in columns] for row in self.rows]
        headings = [column.replace("_", " ") for column in columns]
        widths = [max(len(line[i]) for line in [headings, *cells]) for i in range(len(columns))]
        numeric = [any(isinstance(row.get(column), int | float) for row in self.rows) for column in columns]

        def line(values: Sequence[str]) -> str:
            padded = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True)]
            return f"| {' | '.join(padded)} |"

        rule = [f"{'-' * (w - 1)}:" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
        parts = [f"### {self.title}", *([self.note] if self.note else []), ""]
        return "\n".join([*parts, line(headings), line(rule), *map(line, cells)])


class Report:
    """The tables of one benchmark, which `finish` prints and writes to `benchmarks/results/<name>.json`."""

    def __init__(self, name: str, title: str, folder: Path = RESULTS) -> None:
        self.name = name
        self.title = title
        self.tables: list[Table] = []
        self.raw: dict[str, Any] = {}
        """What the tables were made of, for the file only: seconds of every round, ..."""
        self._file = folder / f"{name}.json"
        self._shown: list[Table] = []
        self._started = time.perf_counter()

    def table(self, title: str, note: str = "") -> Table:
        """Begin a table."""
        table = Table(title, note)
        self.tables.append(table)
        return table

    def show(self, table: Table) -> None:
        """Print a table as it is by now and write what there is, in case the rest is never measured."""
        print(f"\n{table}", flush=True)
        self._shown.append(table)
        self._write()

    def finish(self) -> Path:
        """Print the tables that were not shown and write the JSON file; returns its path."""
        self._write()
        rest = [table for table in self.tables if table not in self._shown]
        if rest:
            print(f"\n## {self.title}\n\n" + "\n\n".join(map(str, rest)), flush=True)
        return self._file

    def _write(self) -> None:
        content = {
            "name": self.name,
            "title": self.title,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - self._started, 1),
            "machine": machine(),
            "tables": [{"title": t.title, "note": t.note, "rows": t.rows} for t in self.tables],
            "raw": self.raw,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def interleaved(
    ways: Mapping[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way in each round. The ways take turns, so that a slow minute of the machine hits them all."""
    for _ in range(warmup):
        for run in ways.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Median of the first over median of the second: seconds of a peer over ours say how often faster we are."""
    return median(slower) / median(faster)


def shown(value: object) -> str:
    """Numbers to three significant digits, whole ones and those beyond 1000 in full."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def machine() -> dict[str, Any]:
    """The hardware and the versions that figures depend on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpu": _gpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory_gb() -> float | None:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _gpu_name() -> str | None:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
