"""The trainer as a process: started, listened to, killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.settings import REPO
from app.training.task import LOG_FILE

INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "TMPDIR",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "OMP_NUM_THREADS",
    "SYSTEMROOT",
)
"""Variables that the trainer sees of the server's: none of them is a secret."""

TRAINER = (sys.executable, "-m", "app.training.trainer")


class TrainerProcess:
    """A running trainer, a leader of a process group of its own."""

    def __init__(self, folder: Path, command: Sequence[str] = TRAINER) -> None:
        """Start it on a job's folder; what it prints beside its messages goes to the job's log."""
        with (folder / LOG_FILE).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*command, str(folder)],
                # Held open as long as this process lives: the trainer ends when it is closed.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPO,
                env=_environment(),
                start_new_session=True,
            )

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """What it reports, until it ends."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message

    def wait(self) -> int:
        """Its exit status; negative: the signal that killed it."""
        return self._process.wait()

    def kill(self) -> None:
        """End it and what it started, at once. Its checkpoints are whole at any moment."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    def close(self) -> None:
        """Free its pipes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
