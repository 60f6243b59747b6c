"""Pages of PDFs: which of them, and their pictures."""

from typing import Annotated

from pydantic import AfterValidator, Field

from app.api.schemas.common import Body
from app.api.schemas.options import PixelLimits
from app.core.errors import BadInputError


def _from_one(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise BadInputError("Pages are counted from 1.")
    return number


PageNumber = Annotated[int | None, AfterValidator(_from_one)]


class PageOptions(PixelLimits):
    """Which page of a PDF, and how finely it is read."""

    page: PageNumber = Field(None, description="Of a PDF: which page, counted from 1. Default: the first.")


class PagesOptions(Body):
    """Which pages of a PDF, and how large."""

    first: PageNumber = Field(None, description="First page to draw, counted from 1. Default: 1.")
    last: PageNumber = Field(None, description="Last page to draw. Default, and if there are fewer: the PDF's last.")
    max_side: int | None = Field(
        None,
        ge=1,
        description="Longer side of the pictures in pixels, at most. Default: pages as they are embedded, "
        "at PDF_DPI; images at their own size.",
    )


class PageImage(Body):
    """A page as a picture: one line of the answer."""

    page: int = Field(description="Counted from 1.")
    n_pages: int = Field(description="Pages of the whole file, drawn or not.")
    width: int | None = Field(None, description="Pixels. Absent if there is an error.")
    height: int | None = Field(None, description="Pixels. Absent if there is an error.")
    image: str | None = Field(None, description="A PNG in base64. Absent if there is an error.")
    error: str | None = Field(None, description="Why this page cannot be drawn. Absent if it can.")
