"""Pages of a PDF as pictures, by pdfium. Not for the server's own process: a hostile PDF may crash or hang pdfium."""

import math
from contextlib import suppress

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from PIL import Image

from app.pdf.protocol import Fault, Resolution

POINTS_AN_INCH = 72


class PdfError(Exception):
    """The PDF, or a page of it, cannot be drawn."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class PdfFile:
    """An open PDF."""

    def __init__(self, data: bytes) -> None:
        """Raises `PdfError`."""
        try:
            self._pdf = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            locked = error.err_code in (pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY)
            raise PdfError(Fault.ENCRYPTED if locked else Fault.BROKEN) from error
        # What was filled into a form is drawn only if this comes before the first page. A form may be broken.
        with suppress(pdfium.PdfiumError):
            self._pdf.init_forms()
        self.n_pages = len(self._pdf)
        if self.n_pages < 1:
            raise PdfError(Fault.BROKEN)

    def draw(self, index: int, resolution: Resolution) -> Image.Image:
        """The page on white, in RGB, turned as the PDF says, with annotations and form fields. Raises `PdfError`."""
        try:
            page = self._pdf[index]
            try:
                scale = fitting_scale(page.get_width(), page.get_height(), resolution)
                image: Image.Image = page.render(scale=scale, rev_byteorder=True).to_pil()
                return image
            finally:
                page.close()
        # No memory, a bitmap that cannot be made, a page that is none, ...
        except Exception as error:
            raise PdfError(Fault.PAGE) from error

    def close(self) -> None:
        self._pdf.close()


def fitting_scale(width: float, height: float, resolution: Resolution) -> float:
    """Pixels a point for a page of that size in points; its sides in pixels are rounded up.

    Raises `ValueError` for a page without a size.
    """
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError("The page has no size.")
    scale = resolution.dpi / POINTS_AN_INCH
    if resolution.max_side is not None:
        # A hair less, for the product must not be rounded up to a pixel more.
        scale = min(scale, (resolution.max_side - 1e-6) / max(width, height))
    while (n_pixels := math.ceil(width * scale) * math.ceil(height * scale)) > resolution.max_pixels:
        scale *= min(0.999, math.sqrt(resolution.max_pixels / n_pixels))
    return scale
