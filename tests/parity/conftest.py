"""What the parity tests share: devices, the reference libraries' process, the comparison with them."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import REPO
from tests.devices import DEVICES
from tests.parity.support import MIN_COSINE, cosines

ORACLE = Path(__file__).parent / "oracle"
ORACLE_PYTHON = Path(os.environ.get("ORACLE_PYTHON", REPO / ".venv-oracle/bin/python"))
"""The environment of the reference libraries that cannot live beside the server's; `make test` sets it up."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How close rows of vectors came to the reference's."""

    label: str
    n_rows: int
    min_cosine: float
    max_difference: float


AGREEMENTS = pytest.StashKey[list[Agreement]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[AGREEMENTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if agreements := config.stash[AGREEMENTS]:
        terminalreporter.section("parity")
        for it in agreements:
            terminalreporter.write_line(
                f"{it.label}: {it.n_rows} rows, least cosine {it.min_cosine:.7f}, "
                f"greatest difference {it.max_difference:.1e}"
            )


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def ask_oracle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Run `oracle/{script}` on a request; returns the arrays of its answer."""

    def ask(script: str, request: dict[str, Any]) -> dict[str, np.ndarray]:
        if not ORACLE_PYTHON.exists():
            pytest.fail(f"{ORACLE_PYTHON} is missing: `make setup-dev` installs the reference libraries.")
        folder = tmp_path_factory.mktemp("oracle")
        question, answer = folder / "request.json", folder / "answer.npz"
        question.write_text(json.dumps(request), encoding="utf-8")
        run = subprocess.run(
            [ORACLE_PYTHON, ORACLE / script, question, answer], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr[-4000:]
        with np.load(answer) as arrays:
            return dict(arrays)

    return ask


@pytest.fixture
def assert_agree(request: pytest.FixtureRequest) -> Callable[[str, Any, Any], None]:
    """Compare vectors [..., dim] with the reference's, row by row; the run's summary shows the figures."""

    def check(label: str, ours: Any, reference: Any) -> None:
        ours, reference = np.asarray(ours, dtype=np.float64), np.asarray(reference, dtype=np.float64)
        assert ours.shape == reference.shape, label
        agreement = Agreement(label, ours[..., 0].size, cosines(ours, reference).min(), abs(ours - reference).max())
        request.config.stash[AGREEMENTS].append(agreement)
        assert agreement.min_cosine >= MIN_COSINE, agreement

    return check
