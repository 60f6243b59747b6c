"""PDFs that are drawn by other processes, some of which they take down."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.core.errors import BadInputError, UnavailableError
from app.pdf.process import ProcessLimits
from app.pdf.renderer import MAX_LOST, PdfDocument, PdfRenderer
from tests.fake_pdf_worker import COMMAND, hostile
from tests.pdfs import ENCRYPTED, pdf

Make = Callable[..., PdfRenderer]


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Renderers with one process, closed at the end."""
    monkeypatch.setattr("app.pdf.renderer.MAX_PROCESSES", 1)
    made: list[PdfRenderer] = []

    def renderer(limits: ProcessLimits | None = None, command: tuple[str, ...] = COMMAND) -> PdfRenderer:
        made.append(PdfRenderer(72, 1_000_000, limits or ProcessLimits(), command))
        return made[-1]

    yield renderer
    for one in made:
        await one.close()


@pytest.fixture
def renderer(make: Make) -> PdfRenderer:
    return make()


def pid(renderer: PdfRenderer) -> int | None:
    """Of its process."""
    process = renderer._all[0]._process
    return None if process is None else process.pid


def environment(process: int | None) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


async def color(document: PdfDocument, page: int = 1) -> object:
    image = await document.draw(page)
    picture = Image.open(io.BytesIO(image.png))
    assert picture.size == (image.width, image.height)
    return picture.getpixel((5, 5))


async def works(renderer: PdfRenderer) -> bool:
    document = await renderer.open(pdf("white", "blue"), "File 9")
    return document.n_pages == 2 and await color(document, 2) == (0, 0, 255)


async def test_no_process_before_there_is_a_pdf_and_then_the_same_for_all(renderer: PdfRenderer) -> None:
    assert pid(renderer) is None
    first = await renderer.open(pdf("red", "blue"), "File 1")
    started = pid(renderer)
    second = await renderer.open(pdf("green"), "File 2")
    # In turns, though the process has only one of them open.
    assert [await color(first), await color(second), await color(first, 2)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert (first.n_pages, second.n_pages) == (2, 1)
    assert pid(renderer) == started is not None


async def test_a_closed_pdf_is_forgotten_and_the_process_kept(renderer: PdfRenderer) -> None:
    document = await renderer.open(pdf("red"), "File 1")
    started = pid(renderer)
    document.close()
    assert renderer._all[0].document is None
    assert await works(renderer)
    assert pid(renderer) == started


async def test_two_at_once(renderer: PdfRenderer) -> None:
    documents = [await renderer.open(pdf(name), name) for name in ("red", "green", "blue")]
    colors = await asyncio.gather(*(color(document) for document in documents * 5))
    assert colors == [(255, 0, 0), (0, 255, 0), (0, 0, 255)] * 5


async def test_closing_ends_the_process(renderer: PdfRenderer) -> None:
    assert await works(renderer)
    process = renderer._all[0]._process
    await renderer.close()
    assert process is not None
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7", "File 1 is a broken PDF: it cannot be opened."),
        (ENCRYPTED, "File 1 is encrypted; send it without its password."),
        (hostile(pdf("red"), "open", "crash"), "File 1 cannot be drawn: the PDF makes the reader crash."),
        (hostile(pdf("red"), "open", "lie"), "File 1 cannot be drawn: the PDF makes the reader crash."),
    ],
)
async def test_a_bad_pdf_is_named_and_the_next_one_works(renderer: PdfRenderer, data: bytes, message: str) -> None:
    with pytest.raises(BadInputError) as error:
        await renderer.open(data, "File 1")
    assert error.value.message == message
    assert await works(renderer)


@pytest.mark.parametrize("what", ["crash", "lie", "flood", "fault"])
async def test_a_bad_page_is_named_and_the_next_pdf_works(renderer: PdfRenderer, what: str) -> None:
    neighbour = await renderer.open(pdf("red"), "File 1")
    document = await renderer.open(hostile(pdf("red"), "draw", what), "File 2")
    with pytest.raises(BadInputError, match="File 2, page 1 cannot be drawn: "):
        await document.draw(1)
    assert await color(neighbour) == (255, 0, 0)
    assert await works(renderer)


@pytest.mark.parametrize("when", ["open", "draw"])
async def test_what_takes_too_long_is_killed(make: Make, when: str) -> None:
    renderer = make(ProcessLimits(seconds=2.5))
    assert await works(renderer)
    process = renderer._all[0]._process
    with pytest.raises(BadInputError, match=r"File 1.* cannot be drawn within 2\.5 seconds\."):
        await (await renderer.open(hostile(pdf("red"), when, "hang"), "File 1")).draw(1)
    assert process is not None
    assert await process.wait() == -signal.SIGKILL
    assert await works(renderer)


async def test_a_pdf_that_goes_on_crashing_is_given_up(renderer: PdfRenderer) -> None:
    document = await renderer.open(hostile(pdf("red"), "draw", "crash"), "File 1")
    for _ in range(MAX_LOST):
        with pytest.raises(BadInputError, match="crash"):
            await document.draw(1)
    with pytest.raises(BadInputError, match="crash"):
        await document.draw(1)
    # The last time nothing was started for it.
    assert pid(renderer) is None


async def test_a_caller_that_leaves_ends_what_it_waits_for(renderer: PdfRenderer) -> None:
    document = await renderer.open(hostile(pdf("red"), "draw", "hang"), "File 1")
    process = renderer._all[0]._process
    drawing = asyncio.create_task(document.draw(1))
    await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert process is not None
    assert await process.wait() == -signal.SIGKILL
    assert await works(renderer)


async def test_the_end_of_an_idle_process_is_not_laid_at_the_next_pdfs_door(renderer: PdfRenderer) -> None:
    document = await renderer.open(pdf("red"), "File 1")
    process = renderer._all[0]._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await color(document) == (255, 0, 0)


@pytest.mark.parametrize("command", [("no-such-program",), (sys.executable, "-c", "pass")])
async def test_a_process_that_cannot_be_started_is_no_fault_of_the_pdf(make: Make, command: tuple[str, ...]) -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await make(command=command).open(pdf("red"), "File 1")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit it")
async def test_memory_is_limited(make: Make) -> None:
    renderer = make(ProcessLimits(address_space=400 << 20))
    renderer.resolution = replace(renderer.resolution, max_pixels=200_000_000)
    document = await renderer.open(pdf("red", "red", width=14000, height=14000), "File 1")
    with pytest.raises(BadInputError, match="File 1, page 1 cannot be drawn: "):
        await document.draw(1)
    assert await works(renderer)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
async def test_the_process_sees_no_secrets(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    renderer = make()
    assert await works(renderer)
    assert b"s3cret" not in environment(pid(renderer))
