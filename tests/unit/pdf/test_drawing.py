"""Pages as pdfium draws them."""

import io
import math

import pytest
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from PIL import Image

from app.pdf.drawing import PdfError, PdfFile, fitting_scale
from app.pdf.protocol import Fault, Resolution
from tests.pdfs import ENCRYPTED, NO_PAGES, pdf, with_annotation

ONE_TO_ONE = Resolution(dpi=72, max_pixels=1_000_000)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def drawn(data: bytes, resolution: Resolution = ONE_TO_ONE, index: int = 0) -> Image.Image:
    return PdfFile(data).draw(index, resolution)


def test_each_page_is_drawn_on_white_in_rgb() -> None:
    file = PdfFile(pdf("red", "blue"))
    assert file.n_pages == 2
    for index, color in enumerate((RED, BLUE)):
        image = file.draw(index, ONE_TO_ONE)
        assert (image.mode, image.size) == ("RGB", (96, 48))
        assert image.getpixel((10, 10)) == color
        assert image.getpixel((80, 10)) == WHITE


@pytest.mark.parametrize(("degrees", "red", "white"), [(90, (24, 10), (24, 80)), (180, (80, 24), (10, 24))])
def test_a_page_is_turned_as_it_says(degrees: int, red: tuple[int, int], white: tuple[int, int]) -> None:
    image = drawn(pdf("red", page=f"/Rotate {degrees}"))
    assert image.size == ((48, 96) if degrees == 90 else (96, 48))
    assert image.getpixel(red) == RED
    assert image.getpixel(white) == WHITE


def test_only_the_crop_box_is_shown() -> None:
    image = drawn(pdf("red", page="/CropBox[40 0 60 48]"))
    assert image.size == (20, 48)
    assert (image.getpixel((2, 2)), image.getpixel((18, 2))) == (RED, WHITE)


@pytest.mark.parametrize(
    "data",
    [
        with_annotation("/Subtype/Stamp"),
        with_annotation("/Subtype/Widget/FT/Tx/T(name)/V(x)", catalog="/AcroForm<</Fields[4 0 R]>>"),
    ],
    ids=["annotation", "form field"],
)
def test_annotations_and_form_fields_are_drawn(data: bytes) -> None:
    image = drawn(data)
    assert (image.getpixel((20, 30)), image.getpixel((60, 30))) == (BLUE, WHITE)


def test_a_form_that_is_none_does_no_harm() -> None:
    assert drawn(with_annotation("/Subtype/Stamp", catalog="/AcroForm 3 0 R")).getpixel((20, 30)) == BLUE


def test_print_of_other_programs_is_drawn() -> None:
    file = io.BytesIO()
    with PdfPages(file) as pages:
        for text in ("one", "two"):
            figure = Figure(figsize=(2, 1))
            figure.text(0.1, 0.4, text, fontsize=30)
            pages.savefig(figure)
    (first, second) = (drawn(file.getvalue(), index=index) for index in range(2))
    assert first.size == (144, 72)
    assert first.getextrema() == ((0, 255),) * 3
    assert first.tobytes() != second.tobytes()
    scan = io.BytesIO()
    Image.new("RGB", (150, 75), "blue").save(scan, "PDF", resolution=150)
    ((n_pixels, color),) = drawn(scan.getvalue()).getcolors()
    assert (n_pixels, color[:2], color[2] > 250) == (72 * 36, (0, 0), True)  # it is a JPEG


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.BROKEN),
        (b"%PDF-1.7", Fault.BROKEN),
        (pdf("red")[:120], Fault.BROKEN),
        (NO_PAGES, Fault.BROKEN),
        (NO_PAGES.replace(b"/Count 0", b"/Count 2000000000"), Fault.BROKEN),
        (ENCRYPTED, Fault.ENCRYPTED),
    ],
)
def test_what_cannot_be_opened(data: bytes, fault: Fault) -> None:
    with pytest.raises(PdfError) as error:
        PdfFile(data)
    assert error.value.fault is fault


def test_a_page_that_is_none_leaves_the_others() -> None:
    file = PdfFile(pdf("red", None, "blue"))
    assert file.n_pages == 3
    with pytest.raises(PdfError) as error:
        file.draw(1, ONE_TO_ONE)
    assert error.value.fault is Fault.PAGE
    assert file.draw(2, ONE_TO_ONE).getpixel((10, 10)) == BLUE


def test_a_huge_page_is_drawn_less_finely() -> None:
    image = drawn(pdf("red", width=14400, height=7200), Resolution(dpi=300, max_pixels=50_000))
    assert 45_000 < image.width * image.height <= 50_000
    assert image.width / image.height == pytest.approx(2, rel=0.02)
    assert image.getpixel((10, 10)) == RED


class TestFittingScale:
    @pytest.mark.parametrize(("dpi", "scale"), [(72, 1), (150, 150 / 72), (36, 0.5)])
    def test_dots_an_inch(self, dpi: float, scale: float) -> None:
        assert fitting_scale(595, 842, Resolution(dpi, 40_000_000)) == scale

    @pytest.mark.parametrize("size", [(595.276, 841.89), (1, 14400), (14400, 0.01), (1e9, 1e9), (3, 1e-30)])
    @pytest.mark.parametrize("max_pixels", [1, 1000, 40_000_000])
    @pytest.mark.parametrize("max_side", [None, 1, 97, 1000])
    def test_limits_hold_for_sides_that_are_rounded_up(
        self, size: tuple[float, float], max_pixels: int, max_side: int | None
    ) -> None:
        scale = fitting_scale(*size, Resolution(300, max_pixels, max_side))
        width, height = (math.ceil(side * scale) for side in size)
        assert width * height <= max_pixels
        assert max_side is None or max(width, height) <= max_side

    def test_a_side_may_be_as_long_as_its_limit(self) -> None:
        for side in range(1, 500):
            scale = fitting_scale(595.276, 841.89, Resolution(1000, 40_000_000, side))
            assert math.ceil(841.89 * scale) == side

    @pytest.mark.parametrize("size", [(0, 1), (1, -1), (math.inf, 1), (1, math.nan)])
    def test_a_page_without_a_size(self, size: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="size"):
            fitting_scale(*size, ONE_TO_ONE)
