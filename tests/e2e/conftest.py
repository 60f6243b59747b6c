"""A real server process with the untrained models."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

REPO = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120
INHERITED = ("PATH", "HOME", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
"""Variables that a server sees of the tests': none of them is a setting."""


@dataclass
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def assert_clean_exit(self) -> None:
        """After a signal: waits for the end and checks that nothing was cut short."""
        # Uvicorn raises the signal again once it has shut down.
        assert self.process.wait(timeout=60) in (0, -signal.SIGTERM)
        assert "Application shutdown complete" in self.log
        assert "Traceback" not in self.log

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Shared by all tests that do not stop it."""
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server
        server.process.send_signal(signal.SIGTERM)
        server.assert_clean_exit()


@pytest.fixture(scope="session")
def starter_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of its own with the starter models."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(REPO / "models" / "starter", folder / "starter")
    return folder


@contextmanager
def running_server(folder: Path, **settings: str) -> Iterator[Server]:
    """Listens on a free port of this machine, logs into `folder`; no setting comes from the environment."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment |= {
        "MODELS_FILE": str(REPO / "tests/untrained.toml"),
        "PORT": "0",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        # It would write into the models folder, which the servers of several tests share.
        "TRAINING": "false",
        **settings,
    }
    command = [sys.executable, "-m", "app"]
    subprocess.run([*command, "starter"], cwd=REPO, env=environment, check=True, capture_output=True)
    log_file = folder / "server.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [*command, "serve"], cwd=REPO, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield Server(_url(process, log_file), process, log_file)
    finally:
        process.kill()
        process.wait()


def _url(process: subprocess.Popen[str], log_file: Path) -> str:
    """Read the address from the welcome; the rest of what the server prints is not looked at."""
    assert process.stdout is not None
    killer = threading.Timer(START_TIMEOUT_S, process.kill)
    killer.start()
    for line in process.stdout:
        if match := re.search(r"http://[\d.:]+", line):
            killer.cancel()
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return match.group()
    killer.cancel()
    raise AssertionError(f"The server did not start:\n{log_file.read_text()}")
