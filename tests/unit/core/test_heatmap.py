from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.core.heatmap import draw_heatmap
from app.core.types import FloatArray


def peak(n_patches_x: int, n_patches_y: int, x: int, y: int) -> FloatArray:
    similarity_map = np.zeros((n_patches_y, n_patches_x), np.float32)
    similarity_map[y, x] = 1
    return similarity_map


def drawn(page: Image.Image, similarity_map: FloatArray, title: str = "token 1.00") -> Image.Image:
    return Image.open(BytesIO(draw_heatmap(page, similarity_map, title)))


def heat(page: Image.Image, similarity_map: FloatArray) -> FloatArray:
    """How yellow each pixel is, which only the top of the colour map is: [height, width]; 0 in the title's band."""
    pixels = np.asarray(drawn(page, similarity_map), np.float32)
    yellow: FloatArray = np.clip(pixels[..., 0] - pixels[..., 2], 0, None)
    yellow[: page.height // 8] = 0
    return yellow


@pytest.mark.parametrize(
    ("size", "n_x", "n_y", "x", "y"),
    [((1200, 700), 24, 14, 19, 5), ((500, 900), 5, 9, 1, 7), ((900, 500), 6, 11, 4, 9), ((64, 96), 18, 27, 3, 20)],
)
def test_a_peak_appears_at_its_own_cell(size: tuple[int, int], n_x: int, n_y: int, x: int, y: int) -> None:
    page = Image.new("RGB", size, "white")
    yellow = heat(page, peak(n_x, n_y, x, y))
    weight = yellow > yellow.max() / 2
    rows, columns = np.mgrid[: page.height, : page.width]
    column = (weight * (columns + 0.5)).sum() / weight.sum() * n_x / page.width
    row = (weight * (rows + 0.5)).sum() / weight.sum() * n_y / page.height
    assert (column, row) == pytest.approx((x + 0.5, y + 0.5), abs=0.1)


def test_a_transposed_map_is_drawn_elsewhere() -> None:
    """Proves that the test above can fail."""
    page = Image.new("RGB", (600, 600), "white")
    straight, transposed = (heat(page, m) for m in (peak(8, 8, 6, 2), peak(8, 8, 6, 2).T))
    assert np.unravel_index(straight.argmax(), straight.shape)[1] > 400
    assert np.unravel_index(transposed.argmax(), transposed.shape)[1] < 300


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (64, 64), (4000, 60), (33, 900), (850, 1100)])
def test_the_png_is_as_large_as_the_page(size: tuple[int, int]) -> None:
    heatmap = drawn(Image.new("RGB", size, "white"), peak(5, 3, 1, 1))
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "RGB", size)


def test_the_page_stays_as_it_was() -> None:
    page = Image.new("RGB", (200, 200), "white")
    draw_heatmap(page, peak(4, 4, 1, 1), "token 1.00")
    assert page.getcolors() == [(200 * 200, (255, 255, 255))]


def test_black_text_stays_readable_under_the_highest_similarity() -> None:
    page = Image.new("RGB", (400, 400), "white")
    page.paste("black", (195, 150, 205, 250))
    heatmap = drawn(page, peak(1, 2, 0, 0) + peak(1, 2, 0, 1)).convert("L")
    paper, ink = heatmap.getpixel((180, 200)), heatmap.getpixel((200, 200))
    assert isinstance(paper, int)
    assert isinstance(ink, int)
    assert paper - ink > 60


def test_a_step_between_cells_is_drawn_smoothly() -> None:
    similarity_map = np.repeat(np.array([[0, 1]], np.float32), 2, axis=0)
    row = np.asarray(drawn(Image.new("RGB", (400, 400), "white"), similarity_map), np.int64)[300]
    assert np.abs(np.diff(row, axis=0)).max() <= 12


@pytest.mark.parametrize("value", [0.0, -0.3, 0.7])
def test_a_flat_map_covers_the_page_evenly(value: float) -> None:
    heatmap = drawn(Image.new("RGB", (100, 100), "white"), np.full((4, 6), value, np.float32))
    assert len(heatmap.crop((0, 50, 100, 100)).getcolors() or []) == 1


def test_maps_are_stretched_to_the_whole_colour_range() -> None:
    page = Image.new("RGB", (90, 90), "white")
    low, high = (drawn(page, m) for m in (0.3 + 0.01 * peak(3, 3, 1, 1), 100 * peak(3, 3, 1, 1)))
    assert low.crop((0, 30, 90, 90)).tobytes() == high.crop((0, 30, 90, 90)).tobytes()


TITLES = [
    "solar 0.87",
    "市場の電力 0.71",
    "🚀👩‍🔬 0.71",
    "سلام עולם नमस्ते 0.50",
    "e\u0301\u0301\u0301\u200d\ufeff 0.1",
    "\x00\x07\n\t\r\u2028",
    "$\\frac{1}{0}$ <b>%s{}",
    "\ud800 lone \udfff",
    "\U0010ffff\ue000",
    "",
    " ",
]


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize("size", [(40, 40), (600, 300)])
def test_any_unicode_is_a_title(title: str, size: tuple[int, int]) -> None:
    assert drawn(Image.new("RGB", size, "white"), peak(4, 2, 1, 1), title).size == size


def band(title: str) -> bytes:
    return drawn(Image.new("RGB", (600, 300), "white"), peak(4, 2, 1, 1), title).crop((0, 0, 300, 20)).tobytes()


def test_the_title_is_drawn_and_stored() -> None:
    assert band("solar 0.87") != band("wind 0.87")
    assert drawn(Image.new("RGB", (9, 9)), peak(4, 2, 1, 1), "市場 0.71").info["Title"] == "市場 0.71"


def test_a_legend_tells_the_range_where_there_is_room() -> None:
    def right_end(title: str, top: float) -> bytes:
        page = Image.new("RGB", (600, 300), "white")
        return drawn(page, top * peak(4, 2, 1, 1), title).crop((540, 0, 600, 15)).tobytes()

    assert right_end("solar", 0.5) != right_end("solar", 0.7)
    assert right_end("solar " * 100, 0.5) == right_end("solar " * 100, 0.7)


def test_threads_do_not_mix_their_pictures() -> None:
    def draw(i: int) -> bytes:
        return draw_heatmap(Image.new("RGB", (120 + i, 90), "white"), peak(6, 5, i % 6, i % 5), f"token {i}")

    expected = [draw(i) for i in range(30)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(draw, range(30))) == expected
