"""Uploaded files to inputs: images as they are, PDFs page by page."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, UploadFile

from app.api.limits import check_n_items
from app.core.errors import BadInputError
from app.core.types import NO_LIMITS, ImageInput, ImageLimits
from app.pdf.renderer import PdfDocument, PdfRenderer
from app.settings import Settings

SAFE_FILENAME = re.compile(r"[\w.\- ]{1,80}")
"""Filenames that error messages may repeat."""

PDF_MARK, PDF_MARK_WITHIN = b"%PDF-", 1024
"""Other programs may have written something before the PDF."""
IMAGE_MARKS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
"""How images begin, which may hold a PDF's mark among their own data."""

PAGES_A_GROUP, BYTES_A_GROUP = 32, 64 << 20
"""As many drawn pages are held at once; a PDF of a few kB may have a thousand pages that take a GB."""


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """An image of an upload, and where it stands."""

    input: ImageInput
    place: dict[str, int] = field(default_factory=dict)
    """Of a PDF's page: `file` from 0, `page` from 1."""


class Uploads:
    """Reads uploaded files. Errors name a file by its place and, where it is harmless, by its filename."""

    def __init__(self, pdfs: PdfRenderer, settings: Settings) -> None:
        self._pdfs = pdfs
        self._settings = settings

    async def open(self, file: UploadFile, number: int = 1) -> ImageInput | PdfDocument:
        """The file as an image that is not decoded yet, or as a PDF to be closed. Raises `BadInputError`."""
        data, label = await file.read(), _label(number, file.filename)
        return await self._pdfs.open(data, label) if is_pdf(data) else ImageInput(data, label)

    async def image(self, file: UploadFile, page: int | None, limits: ImageLimits = NO_LIMITS) -> ImageInput:
        """The image, or a page of the PDF, None being the first. Raises `BadInputError`."""
        opened = await self.open(file)
        if isinstance(opened, ImageInput):
            if page not in (None, 1):
                raise BadInputError(f"{opened.label} is an image, which has no pages: leave out `page`, or send 1.")
            return ImageInput(opened.data, opened.label, limits=limits)
        try:
            check_page(page or 1, opened.n_pages, opened.label)
            return await _drawn(opened, page or 1, limits)
        finally:
            opened.close()

    async def groups(
        self, files: Sequence[UploadFile], limits: ImageLimits = NO_LIMITS
    ) -> AsyncGenerator[list[UploadedImage], None]:
        """All images and pages in order, so many at once as may stand in memory.

        Raises `BadInputError`, and `TooLargeError` for more pages than MAX_ITEMS before the first is drawn.
        """
        check_n_items(len(files), self._settings)
        opened: list[ImageInput | PdfDocument] = []
        try:
            for number, file in enumerate(files, 1):
                opened.append(await self.open(file, number))
            check_n_items(sum(n_pages(one) for one in opened), self._settings)
            group, n_bytes = [], 0
            for index, one in enumerate(opened):
                if isinstance(one, ImageInput):
                    group.append(UploadedImage(ImageInput(one.data, one.label, limits=limits)))
                    continue
                for page in range(1, one.n_pages + 1):
                    image = await _drawn(one, page, limits)
                    group.append(UploadedImage(image, {"file": index, "page": page}))
                    n_bytes += len(image.data)
                    if len(group) >= PAGES_A_GROUP or n_bytes >= BYTES_A_GROUP:
                        yield group
                        group, n_bytes = [], 0
            if group:
                yield group
        finally:
            for one in opened:
                if isinstance(one, PdfDocument):
                    one.close()


def is_pdf(data: bytes) -> bool:
    """Whether the file is a PDF, whole or broken."""
    return PDF_MARK in data[:PDF_MARK_WITHIN] and not data.startswith(IMAGE_MARKS)


def n_pages(opened: ImageInput | PdfDocument) -> int:
    """Of an image: one."""
    return opened.n_pages if isinstance(opened, PdfDocument) else 1


def check_page(page: int, n_pages: int, label: str) -> None:
    """Raises `BadInputError` for a page beyond the last."""
    if page > n_pages:
        pages = "1 page" if n_pages == 1 else f"{n_pages} pages"
        raise BadInputError(f"{label} has {pages}; there is no page {page}.")


async def _drawn(document: PdfDocument, page: int, limits: ImageLimits) -> ImageInput:
    return ImageInput((await document.draw(page)).png, document.page_label(page), limits=limits)


def _label(number: int, filename: str | None) -> str:
    harmless = filename and SAFE_FILENAME.fullmatch(filename)
    return f"File {number} ({filename})" if harmless else f"File {number}"


async def _uploads(request: Request) -> Uploads:
    return Uploads(request.app.state.pdfs, request.app.state.settings)


UploadsDep = Annotated[Uploads, Depends(_uploads)]
