"""A server of this repository in a process of its own, for as long as it is asked."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
START_S = 120.0
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A model to serve."""

    name: str
    family: str
    folder: Path
    """Its checkpoint."""
    trained: bool = True


@contextmanager
def serving(entries: Sequence[Entry]) -> Iterator[str]:
    """Serves the models on a free port of this machine; yields the server's address.

    Only PATH, HOME and thread counts come from the environment. Raises RuntimeError with the end of the server's log if
    it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="manyvec-") as scratch:
        models_file, log_file = Path(scratch) / "models.toml", Path(scratch) / "server.log"
        models_file.write_text("\n".join(map(_toml, entries)), encoding="utf-8")
        port = _free_port()
        with log_file.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve"],
                cwd=ROOT,
                env=_environment(models_file, port),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, log_file)
            yield url
        finally:
            _stop(process)


def _toml(entry: Entry) -> str:
    """JSON's strings are TOML's too."""
    values = {"name": entry.name, "family": entry.family, "checkpoint": str(entry.folder.resolve())}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(["[[model]]", *lines, f"trained = {json.dumps(entry.trained)}", ""])


def _environment(models_file: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.endswith("THREADS")}
    return {**kept, "MODELS_FILE": str(models_file), "PORT": str(port), "HF_HUB_OFFLINE": "1"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx2.get(f"{url}/ready", timeout=10).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"The server does not start:\n{log_file.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
