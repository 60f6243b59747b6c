"""Starts the servers that are compared, each in a process of its own, and knows how to speak to them."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from benchmarks.checkpoints import CACHE
from benchmarks.load import Address, drive
from benchmarks.report import ROOT
from benchmarks.texts import MAX_TOKENS, Text

READY_S = 180

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "TOKENIZERS_PARALLELISM": "true",
}

OWN_THREADS = {"TOKENIZERS_PARALLELISM": "false"}
"""What this server sets by itself, which `QUIET` would change."""


class Server(ABC):
    """A running server; use it as a context manager."""

    name: str
    path: str
    """Route that embeds."""
    ready_path = "/health"

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.port = free_port()

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it."""

    @abstractmethod
    def body(self, texts: Sequence[Text]) -> Any:
        """The request for the embeddings of `texts`."""

    @abstractmethod
    def vectors(self, answer: Any) -> list[list[float]]:
        """The embeddings in an answer."""

    @property
    def folder(self) -> Path:
        """Where it is started."""
        return ROOT

    def environment(self) -> dict[str, str]:
        """Variables that it gets beside our own."""
        return {}

    def embed(self, requests: Sequence[Sequence[Text]], connections: int) -> tuple[float, list[bytes]]:
        """Seconds until all are answered, and the answers."""
        bodies = [orjson.dumps(self.body(texts)) for texts in requests]
        return drive(Address(self.port, self.path), bodies, connections)

    def __enter__(self) -> Self:
        log = (CACHE / f"{type(self).__name__.lower()}.log").open("wb")
        environment = {**os.environ, **QUIET, **self.environment()}
        self._process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait_until_ready(Path(log.name))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        # The whole session that was started with it: workers outlive some servers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait_until_ready(self, log: Path) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.port, self.ready_path):
                return
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"{self.name} does not start:\n{log.read_text(errors='replace')[-2000:]}")


class Ours(Server):
    """This server with its defaults."""

    name = "ours"
    path = "/vectorize-batch"
    family = "e5"
    dtype = "float32"

    def command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "app", "serve"]

    def environment(self) -> dict[str, str]:
        models = CACHE / f"{self.checkpoint.name}-{self.dtype}.toml"
        models.write_text(
            f'[[model]]\nname = "{self.family}"\nfamily = "{self.family}"\ntrained = false\n'
            f'checkpoint = "{self.checkpoint.name}"\ndevice = "cpu"\ndtype = "{self.dtype}"\n'
        )
        paths = {"MODELS_FILE": str(models), "MODELS_DIR": str(CACHE), "PRELOAD": "all"}
        return {"PORT": str(self.port), **paths, **OWN_THREADS}

    def body(self, texts: Sequence[Text]) -> Any:
        return {"items": [text.bare for text in texts], "model": self.family}

    def vectors(self, answer: Any) -> list[list[float]]:
        found: list[list[float]] = answer["vectors"]
        return found


class OursBgeM3(Ours):
    """This server with a BGE-M3."""

    family = "bge-m3"


class OursInt8(Ours):
    """This server with `dtype = "int8"`."""

    name = "ours-int8"
    dtype = "int8"


class OursBfloat16(Ours):
    """This server with `dtype = "bfloat16"`."""

    name = "ours-bfloat16"
    dtype = "bfloat16"


class Infinity(Server):
    """infinity-emb's server with PyTorch, its defaults but for torch.compile, which recompiles for every length."""

    name = "infinity"
    path = "/embeddings"
    engine = "torch"

    @property
    def model_id(self) -> str:
        return str(self.checkpoint)

    def command(self) -> Sequence[str | Path]:
        options = ["--engine", self.engine, "--device", "cpu", "--dtype", "float32", "--no-compile"]
        options += ["--no-bettertransformer", "--port", str(self.port), "--host", "127.0.0.1", "--log-level", "warning"]
        program = ROOT / ".venv-infinity/bin/infinity_emb"
        return [program, "v2", "--model-id", self.model_id, "--served-model-name", "e5", *options]

    def body(self, texts: Sequence[Text]) -> Any:
        return {"model": "e5", "input": [text.prefixed for text in texts]}

    def vectors(self, answer: Any) -> list[list[float]]:
        return [item["embedding"] for item in answer["data"]]


class InfinityOnnx(Infinity):
    """infinity-emb's server with ONNX Runtime (its engine `optimum`).

    With optimum 2 that engine finds an exported model only at the top of the current folder, and its own fusing of
    the graph fails with a warning (unknown argument); it then runs the graph as ONNX Runtime optimizes it.
    """

    name = "infinity-onnx"
    engine = "optimum"

    @property
    def model_id(self) -> str:
        return "."

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.checkpoint.name}-infinity"

    def environment(self) -> dict[str, str]:
        self.folder.mkdir(exist_ok=True)
        for file in (*self.checkpoint.glob("*.json"), self.checkpoint / "onnx/model.onnx"):
            link = self.folder / file.name
            link.unlink(missing_ok=True)
            link.hardlink_to(file)
        # It cuts texts at the number of positions, two of which XLM-RoBERTa does not use, and would not start.
        config = self.folder / "config.json"
        content = {**orjson.loads(config.read_bytes()), "max_position_embeddings": MAX_TOKENS}
        config.unlink()
        config.write_bytes(orjson.dumps(content))
        return {"HF_HOME": str(CACHE / "huggingface")}


class LitServe(Server):
    """sentence-transformers behind LitServe."""

    name = "litserve"
    path = "/predict"

    def command(self) -> Sequence[str | Path]:
        python = ROOT / ".venv-peers/bin/python"
        return [python, "-m", "benchmarks.peers.litserve_server", str(self.checkpoint), str(self.port)]

    def body(self, texts: Sequence[Text]) -> Any:
        return {"input": [text.prefixed for text in texts]}

    def vectors(self, answer: Any) -> list[list[float]]:
        found: list[list[float]] = answer["vectors"]
        return found


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
