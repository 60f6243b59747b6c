"""Pages of a PDF as pictures, for whoever wants to show them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Annotated, Any

from fastapi import File, Response
from fastapi.responses import StreamingResponse

from app.api.encoding import to_json
from app.api.forms import PagesOptionsDep
from app.api.limits import check_n_items
from app.api.route import SettingsDep, api_router
from app.api.schemas.common import UploadedFile
from app.api.schemas.pages import PageImage
from app.api.uploads import UploadsDep, check_page
from app.core.errors import BadInputError, ManyvecError
from app.core.images import decode_image
from app.core.types import ImageInput
from app.pdf import protocol
from app.pdf.renderer import PdfDocument

router = api_router("pages")


NDJSON = "application/x-ndjson"

LINES: dict[str, Any] = {
    "type": "string",
    "contentMediaType": NDJSON,
    "contentSchema": {"$ref": f"#/components/schemas/{PageImage.__name__}"},
}
"""The whole answer is a text, as generators of clients are told; what each line holds is for people."""


@router.post(
    "/pages",
    summary="Pages of a PDF as images",
    response_class=Response,
    response_model=PageImage,
    response_description="A line of JSON for each page, as soon as it is drawn.",
    responses={200: {"content": {NDJSON: {"schema": LINES}}}},
)
async def draw_pages(
    file: Annotated[UploadedFile, File(description="A PDF, or an image, which counts as one page.")],
    options: PagesOptionsDep,
    uploads: UploadsDep,
    settings: SettingsDep,
) -> Response:
    """Each option may also come as a field of the form; the query parameter wins.

    A page that cannot be drawn is a line with an `error`; the others follow.
    """
    first, last = options.first or 1, options.last
    if last is not None and last < first:
        raise BadInputError("`last` is a page before `first`.")
    opened = await uploads.open(file)
    if isinstance(opened, ImageInput):
        check_page(first, 1, opened.label)
        line = await asyncio.to_thread(lambda: _image_line(opened, settings.max_image_pixels, options.max_side))
        return StreamingResponse(iter([line]), media_type=NDJSON)
    try:
        check_page(first, opened.n_pages, opened.label)
        last = min(last or opened.n_pages, opened.n_pages)
        check_n_items(last - first + 1, settings)
    except ManyvecError:
        opened.close()
        raise
    return StreamingResponse(_lines(opened, range(first, last + 1), options.max_side), media_type=NDJSON)


async def _lines(document: PdfDocument, pages: range, max_side: int | None) -> AsyncIterator[bytes]:
    try:
        for page in pages:
            content: dict[str, Any] = {"page": page, "n_pages": document.n_pages}
            try:
                image = await document.draw(page, max_side)
            except ManyvecError as error:
                yield _line(content | {"error": error.message})
            else:
                yield await asyncio.to_thread(_picture_line, content, image)
    finally:
        document.close()


def _picture_line(content: dict[str, Any], image: protocol.PageImage) -> bytes:
    picture = {"width": image.width, "height": image.height, "image": base64.b64encode(image.png).decode()}
    return _line(content | picture)


def _image_line(image: ImageInput, max_pixels: int, max_side: int | None) -> bytes:
    """An image that is uploaded alone, upright and in RGB as it would be embedded."""
    picture, file = decode_image(image.data, image.label, max_pixels), BytesIO()
    if max_side is not None:
        picture.thumbnail((max_side, max_side))
    picture.save(file, "PNG", compress_level=1)
    drawn = protocol.PageImage(picture.width, picture.height, file.getvalue())
    return _picture_line({"page": 1, "n_pages": 1}, drawn)


def _line(content: dict[str, Any]) -> bytes:
    return to_json(content) + b"\n"
