"""A process that draws: started when it is first needed, restarted after a crash, killed when it takes too long."""

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Any

from app.core.errors import UnavailableError
from app.pdf.protocol import FAULT, N_BYTES, message
from app.settings import REPO

log = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "app.pdf.worker")
START_S = 60
"""How long a process may take to start."""
READ_SIZE = 1 << 20
INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables that it sees of the server's: none of them is a secret."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one request may cost a process."""

    seconds: float = 30.0
    """On the clock and of the processor."""
    address_space: int = 4 << 30
    """Bytes, where the system can limit it."""
    answer_bytes: int = 1 << 30
    """Longest answer that is believed."""


class ProcessLostError(Exception):
    """The process is gone, and with it what it was at."""

    def __init__(self, *, hung: bool) -> None:
        super().__init__()
        self.hung = hung
        """It was killed because it took too long; else it crashed."""


class PdfProcess:
    """One process, one PDF at a time. Used from one event loop, by one task at a time."""

    def __init__(self, limits: ProcessLimits, command: Sequence[str] = WORKER) -> None:
        self._limits = limits
        self._command = command
        self._process: Process | None = None
        self._killed: Process | None = None
        self._document: object | None = None

    @property
    def document(self) -> object | None:
        """What it has open, noted by who uses it."""
        return self._document if self.is_running() else None

    @document.setter
    def document(self, document: object | None) -> None:
        self._document = document

    async def ask(
        self, request: Mapping[str, Any], data: bytes = b"", wanted: Sequence[str] = ()
    ) -> tuple[Mapping[str, Any], bytes]:
        """The answer, with whole numbers under the names `wanted` or a `fault`, and the bytes that came with it.

        Raises `ProcessLostError`, and `UnavailableError` if the process cannot be started. Cancelling kills it.
        """
        process = self._process if self._process is not None and self.is_running() else await self._start()
        try:
            async with asyncio.timeout(self._limits.seconds):
                answer, answered = await self._ask(process, {**request, "seconds": ceil(self._limits.seconds)}, data)
            if FAULT not in answer and not all(isinstance(answer[name], int) for name in wanted):
                raise ValueError("no answer to this request")  # noqa: TRY301 - like an answer that is no JSON
        except TimeoutError:
            self.kill()
            log.warning("A PDF took longer than %g seconds; its process was killed.", self._limits.seconds)
            raise ProcessLostError(hung=True) from None
        # Also answers that make no sense: who knows what the PDF made of the process.
        except (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, RuntimeError) as error:
            self.kill()
            log.warning("A PDF made its process crash.")
            raise ProcessLostError(hung=False) from error
        except BaseException:
            # Cancelled: the answer would be taken for that to the next request.
            self.kill()
            raise
        return answer, answered

    def forget(self) -> None:
        """Let it free what it has open."""
        self.document = None
        if self._process is not None and self._process.stdin is not None:
            # Gone meanwhile: the next request will notice.
            with suppress(OSError, RuntimeError):
                self._process.stdin.write(message({"do": "close"}))

    def kill(self) -> None:
        """End it at once; the next request starts another."""
        process, self._process, self._document = self._process, None, None
        if process is not None:
            self._killed = process
            if process.returncode is None:
                process.kill()

    async def close(self) -> None:
        """End it and wait for that."""
        self.kill()
        if self._killed is not None:
            await self._killed.wait()
            self._killed = None

    def is_running(self) -> bool:
        """It may also have ended while it was idle, which must not be laid at the next PDF's door."""
        return self._process is not None and self._process.returncode is None

    async def _start(self) -> Process:
        await self.close()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                str(self._limits.address_space),
                stdin=PIPE,
                stdout=PIPE,
                cwd=REPO,
                env={name: os.environ[name] for name in INHERITED if name in os.environ},
                start_new_session=True,
                limit=READ_SIZE,
            )
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            async with asyncio.timeout(START_S):
                if not await process.stdout.readline():
                    raise EOFError  # noqa: TRY301 - as if the system had not started it
        except (OSError, EOFError) as error:
            self.kill()
            log.exception("The process that draws PDFs cannot be started.")
            raise UnavailableError("PDFs cannot be read now; try again, or send images.") from error
        except BaseException:
            self.kill()
            raise
        return process

    async def _ask(self, process: Process, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(message(request, data))
        process.stdin.write(data)
        await process.stdin.drain()
        answer = json.loads(await process.stdout.readline())
        n_bytes = answer.get(N_BYTES, 0)
        if not 0 <= n_bytes <= self._limits.answer_bytes:
            raise ValueError("longer than any page can be")
        return answer, await process.stdout.readexactly(n_bytes)
