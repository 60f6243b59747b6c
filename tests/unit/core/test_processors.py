"""How many processors are counted."""

import math
from pathlib import Path

import pytest

from app.core import processors
from app.core.processors import n_processors, time_share


@pytest.mark.parametrize(
    ("quotas", "own", "share"),
    [
        ({"": "max 100000"}, "0::/\n", math.inf),
        ({"": "150000 100000"}, "0::/\n", 1.5),
        ({"a": "400000 100000", "a/b": "max 100000"}, "0::/a/b\n", 4),
        ({"a": "400000 100000", "a/b": "250000 100000"}, "1:cpu:/x\n0::/a/b\n", 2.5),
        ({"other": "100000 100000"}, "0::/a\n", math.inf),
        ({"": "nonsense"}, "0::/\n", math.inf),
        ({"": "100000 100000"}, "0::/../outside\n", 1),
    ],
)
def test_the_share_of_time_is_the_smallest_of_the_groups(
    tmp_path: Path, quotas: dict[str, str], own: str, share: float
) -> None:
    groups, file = tmp_path / "groups", tmp_path / "own"
    for group, text in quotas.items():
        (groups / group).mkdir(parents=True, exist_ok=True)
        (groups / group / "cpu.max").write_text(text)
    file.write_text(own)
    assert time_share(groups, file) == share


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert time_share(tmp_path, tmp_path / "none") == math.inf


@pytest.mark.parametrize(("share", "n"), [(math.inf, 8), (1.5, 2), (0.1, 1), (64, 8)])
def test_no_more_processors_than_their_time(monkeypatch: pytest.MonkeyPatch, share: float, n: int) -> None:
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "time_share", lambda: share)
    assert n_processors() == n
