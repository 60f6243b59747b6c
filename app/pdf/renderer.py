"""What handlers call: PDFs opened, and their pages drawn by a few processes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

from app.core.errors import BadInputError
from app.core.processors import n_processors
from app.core.trace import timed_phase
from app.pdf.process import WORKER, PdfProcess, ProcessLimits, ProcessLostError
from app.pdf.protocol import FAULT, Fault, PageImage, Resolution

MAX_PROCESSES = 4
MAX_LOST = 2
"""A PDF that has cost so many processes is given up, pages that have not been tried included."""

MESSAGES: dict[str, str] = {
    Fault.ENCRYPTED: "is encrypted; send it without its password.",
    Fault.BROKEN: "is a broken PDF: it cannot be opened.",
    Fault.PAGE: "cannot be drawn: it is broken, or needs too much memory.",
}


class PdfRenderer:
    """A few processes, each started when there is first something for it to do. Used from one event loop."""

    def __init__(self, dpi: float, max_pixels: int, limits: ProcessLimits, command: Sequence[str] = WORKER) -> None:
        self.resolution = Resolution(dpi, max_pixels)
        self.limits = limits
        n_processes = min(MAX_PROCESSES, max(1, n_processors() // 2))
        self._idle = [PdfProcess(limits, command) for _ in range(n_processes)]
        self._all = tuple(self._idle)
        self._free = asyncio.Semaphore(n_processes)

    async def open(self, data: bytes, label: str) -> "PdfDocument":
        """`label` names the PDF in error messages. Raises `BadInputError`, `UnavailableError`."""
        document = PdfDocument(self, data, label)
        await document.open()
        return document

    @asynccontextmanager
    async def process(self, document: "PdfDocument") -> AsyncIterator[PdfProcess]:
        """A process for one request: best one that has the document open, then one that has none and runs already."""
        async with self._free:
            process = max(
                self._idle, key=lambda one: (one.document is document, one.document is None, one.is_running())
            )
            self._idle.remove(process)
            try:
                yield process
            finally:
                self._idle.append(process)

    def forget(self, document: "PdfDocument") -> None:
        """Free what idle processes hold of it."""
        for process in self._idle:
            if process.document is document:
                process.forget()

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*(process.close() for process in self._all))


class PdfDocument:
    """An uploaded PDF. Close it, so that no process keeps it in memory."""

    def __init__(self, renderer: PdfRenderer, data: bytes, label: str) -> None:
        self._renderer = renderer
        self._data = data
        self._lost: list[ProcessLostError] = []
        self.label = label
        self.n_pages = 0

    async def open(self) -> None:
        """Learn its number of pages. Raises `BadInputError`, `UnavailableError`."""
        with timed_phase("render"):
            async with self._renderer.process(self) as process:
                self.n_pages = await self._open_in(process)

    async def draw(self, page: int, max_side: int | None = None) -> PageImage:
        """One page, the first being 1, its longer side being `max_side` pixels at most.

        Raises `BadInputError` if it cannot be drawn, `UnavailableError`.
        """
        where = self.page_label(page)
        if len(self._lost) >= MAX_LOST:
            raise self._given_up(where, self._lost[-1])
        resolution = asdict(replace(self._renderer.resolution, max_side=max_side))
        request = {"do": "draw", "page": page, "resolution": resolution}
        with timed_phase("render"):
            async with self._renderer.process(self) as process:
                if process.document is not self:
                    await self._open_in(process)
                answer, png = await self._ask(process, where, request, wanted=("width", "height"))
        return PageImage(answer["width"], answer["height"], png)

    def page_label(self, page: int) -> str:
        """How error messages name a page."""
        return f"{self.label}, page {page}"

    def close(self) -> None:
        self._renderer.forget(self)

    async def _open_in(self, process: PdfProcess) -> int:
        process.document = None
        answer, _ = await self._ask(process, self.label, {"do": "open"}, self._data, wanted=("n_pages",))
        process.document = self
        n_pages: int = answer["n_pages"]
        return n_pages

    async def _ask(
        self, process: PdfProcess, where: str, request: Mapping[str, Any], data: bytes = b"", *, wanted: Sequence[str]
    ) -> tuple[Mapping[str, Any], bytes]:
        try:
            answer, answered = await process.ask(request, data, wanted)
        except ProcessLostError as lost:
            self._lost.append(lost)
            raise self._given_up(where, lost) from lost
        if FAULT in answer:
            # Our own words, whatever the process said.
            raise BadInputError(f"{where} {MESSAGES.get(str(answer[FAULT]), MESSAGES[Fault.PAGE])}")
        return answer, answered

    def _given_up(self, where: str, lost: ProcessLostError) -> BadInputError:
        if lost.hung:
            return BadInputError(f"{where} cannot be drawn within {self._renderer.limits.seconds:g} seconds.")
        return BadInputError(f"{where} cannot be drawn: the PDF makes the reader crash.")
