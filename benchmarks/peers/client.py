"""Starts an engine's worker in its environment and talks to it."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from benchmarks.checkpoints import CACHE
from benchmarks.report import ROOT
from benchmarks.texts import Text

ENVIRONMENTS = {"fastembed": ".venv-infinity"}
"""Engines that are not in .venv-peers."""


class Engine:
    """A running worker; use it as a context manager."""

    def __init__(self, name: str, checkpoint: Path) -> None:
        self.name = name
        self.checkpoint = checkpoint
        self.saved = CACHE / f"vectors-{name}.npy"

    def embed(self, calls: Sequence[Sequence[Text]], *, save: bool = False) -> float:
        """Seconds of one call after another; with `save` all vectors [n_texts, dim] are in the file `saved`."""
        texts = [[text.prefixed for text in call] for call in calls]
        return float(self._ask({"calls": texts, "save": str(self.saved) if save else None})["seconds"])

    def __enter__(self) -> Self:
        python = ROOT / ENVIRONMENTS.get(self.name, ".venv-peers") / "bin/python"
        self._log = (CACHE / f"{self.name}.log").open("wb")
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.worker", self.name, str(self.checkpoint)],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
        self._log.close()

    def _ask(self, request: dict[str, object]) -> dict[str, float]:
        if self._process.stdin is None:
            raise RuntimeError("The worker has no standard input.")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} failed:\n{Path(self._log.name).read_text(errors='replace')[-2000:]}")
        answer: dict[str, float] = json.loads(line)
        return answer
