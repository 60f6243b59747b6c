"""Heatmaps: a page with a similarity map over it, as a PNG."""

from io import BytesIO

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from app.core.lettering import Lettering
from app.core.types import FloatArray

_STEPS = np.linspace(0, 1, 256)
COLORS: NDArray[np.uint8] = mpl.colormaps["viridis"](_STEPS, bytes=True)[:, :3]
"""A perceptually uniform colour map: RGB of 256 steps, [256, 3]."""
OPACITIES: NDArray[np.uint8] = (255 * (0.10 + 0.58 * _STEPS**1.5)).astype(np.uint8)
"""Grows with the similarity, so that the page stays readable where little matches: [256]."""

BAND_COLOR = "#14141c"
BAND_OPACITY = 0.9
MIN_TEXT_PX, MAX_TEXT_PX = 9, 96
MAX_METADATA_CHARS = 1000


def draw_heatmap(image: Image.Image, similarity_map: FloatArray, title: str) -> bytes:
    """A PNG of exactly the page's size: the page, the map [n_patches_y, n_patches_x] over it, a title band on top.

    The map is interpolated smoothly and stretched over the whole colour map; the legend in the band tells its
    range. A title that is too long loses its middle, and a page too small for letters gets none; the PNG's
    metadata hold it in any case. Safe to call from several threads.
    """
    low, high = float(similarity_map.min()), float(similarity_map.max())
    steps = _color_steps(similarity_map, low, high, image.size)
    colors, opacity = Image.fromarray(COLORS[steps]), Image.fromarray(OPACITIES[steps])
    page = Image.composite(colors, image.convert("RGB"), opacity)
    _draw_band(page, title, low, high)
    return _png(page, title)


def _color_steps(similarity_map: FloatArray, low: float, high: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map enlarged to `size` (width, height) in pixels, as indices of `COLORS`: [height, width]."""
    relative = (similarity_map - low) / (high - low) if high > low else np.zeros_like(similarity_map)
    enlarged = Image.fromarray(relative.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    # Bicubic interpolation swings beyond the values that it passes through.
    steps: NDArray[np.uint8] = np.clip(np.asarray(enlarged) * 255, 0, 255).astype(np.uint8)
    return steps


def _draw_band(page: Image.Image, title: str, low: float, high: float) -> None:
    """Darken the top of the page; write the title on the left and, where there is room, the legend on the right."""
    text_px = _text_px(page.size)
    if text_px < MIN_TEXT_PX:
        return
    lettering = Lettering(text_px)
    band = (0, 0, page.width, round(1.7 * text_px))
    page.paste(Image.blend(page.crop(band), Image.new("RGB", band[2:], BAND_COLOR), BAND_OPACITY), band)
    margin = text_px // 2
    room = page.width - 2 * margin
    legend = _legend(lettering, text_px, low, high)
    if lettering.width(title) + 2 * text_px + legend.width <= room:
        page.paste(legend, (page.width - margin - legend.width, 0), legend)
    canvas = ImageDraw.Draw(page)
    lettering.draw(canvas, margin, round(1.2 * text_px), lettering.shorten(title, room), "white")


def _text_px(size: tuple[int, int]) -> int:
    """Size of the letters: follows the page's; on a small page a quarter of its height at most."""
    width, height = size
    wanted = max(0.018 * (width * height) ** 0.5, MIN_TEXT_PX)
    return int(min(wanted, height / 4, MAX_TEXT_PX))


def _legend(lettering: Lettering, text_px: int, low: float, high: float) -> Image.Image:
    """`0.12 [colour bar] 0.87` on a transparent ground, as high as the band."""
    gap, bar_size = text_px // 2, (6 * text_px, round(0.7 * text_px))
    low_label, high_label = f"{low:.2f}", f"{high:.2f}"
    bar_left = round(lettering.width(low_label)) + gap
    high_left = bar_left + bar_size[0] + gap
    size = (round(high_left + lettering.width(high_label)), round(1.7 * text_px))
    legend = Image.new("RGBA", size)
    legend.paste(Image.fromarray(COLORS[np.newaxis]).resize(bar_size), (bar_left, round(0.5 * text_px)))
    canvas = ImageDraw.Draw(legend)
    lettering.draw(canvas, 0, round(1.2 * text_px), low_label, "white")
    lettering.draw(canvas, high_left, round(1.2 * text_px), high_label, "white")
    return legend


def _png(page: Image.Image, title: str) -> bytes:
    metadata = PngImagePlugin.PngInfo()
    metadata.add_itxt("Title", title[:MAX_METADATA_CHARS].replace("\0", "").encode("utf-8", "replace").decode())
    file = BytesIO()
    # The lowest compression: stronger takes several times as long for a few per cent.
    page.save(file, "PNG", pnginfo=metadata, compress_level=1)
    return file.getvalue()
