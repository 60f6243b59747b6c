import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.core.errors import BadInputError, TooLargeError
from app.core.images import FORMATS, decode_image

MAX_PIXELS = 1_000_000
ORIENTATION = 0x0112


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = decode_image(data, "file 2", MAX_PIXELS)
    assert image.mode == "RGB"
    return image


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def picture(mode: str = "RGB") -> Image.Image:
    """32 x 24 pixels: orange with a blue upper left quarter."""
    image = Image.new("RGB", (32, 24), (250, 130, 10))
    image.paste((10, 20, 230), (0, 0, 16, 12))
    return image.convert(mode)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bit_depth: int, color_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_is_read(file_format: str) -> None:
    image = decoded(encoded(picture(), file_format))
    assert image.size == (32, 24)
    assert pixel(image, 2, 2) == pytest.approx((10, 20, 230), abs=12)
    assert pixel(image, 28, 20) == pytest.approx((250, 130, 10), abs=12)


@pytest.mark.parametrize(
    ("file_format", "mode"),
    [("PNG", "P"), ("PNG", "L"), ("PNG", "1"), ("JPEG", "CMYK"), ("TIFF", "CMYK"), ("GIF", "P")],
)
def test_other_colour_modes_become_rgb(file_format: str, mode: str) -> None:
    expected = picture(mode).convert("RGB")
    assert pixel(decoded(encoded(picture(mode), file_format)), 28, 20) == pytest.approx(pixel(expected, 28, 20), abs=6)


@pytest.mark.parametrize("byte_order", ["I;16", "I;16B"])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(file_format: str, byte_order: str) -> None:
    grey = np.array([[0, 256, 32768, 65535]], ">u2" if byte_order == "I;16B" else "<u2")
    image = Image.frombytes(byte_order, (4, 1), grey.tobytes())
    assert np.asarray(decoded(encoded(image, file_format)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_colours_are_scaled() -> None:
    rows = b"\x00" + struct.pack(">6H", 65535, 32768, 0, 256, 255, 65535)
    image = decoded(png(2, 1, 16, 2, rows))
    assert [pixel(image, 0), pixel(image, 1)] == [(255, 128, 0), (1, 0, 255)]


@pytest.mark.parametrize("values", [[-1.5, 0.0, 1.5], [-30, 0, 30], [np.nan, 0.0, np.inf], [7.0, 7.0, 7.0]])
def test_32_bit_greys_are_stretched(values: list[float]) -> None:
    pixels = np.array([values], np.int32 if isinstance(values[0], int) else np.float32)
    grey = np.asarray(decoded(encoded(Image.fromarray(pixels), "TIFF")))[0, :, 0].tolist()
    assert grey == ([0, 127, 255] if values[0] < values[-1] and np.isfinite(values).all() else [0, 0, 0])


def half_transparent(mode: str) -> Image.Image:
    """Black; the left half can be seen through."""
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 2))
    return image.convert(mode)


@pytest.mark.parametrize(("file_format", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA"), ("TIFF", "RGBA")])
def test_transparency_lies_over_white(file_format: str, mode: str) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = decoded(encoded(half_transparent(mode), file_format, **options))
    assert [pixel(image, x) for x in (0, 3)] == [(255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize(("mode", "key"), [("P", 0), ("L", 30), ("RGB", (30, 30, 30))])
def test_a_transparent_colour_lies_over_white(mode: str, key: Any) -> None:
    image = Image.new("RGB", (2, 1), (30, 30, 30))
    image.putpixel((1, 0), (200, 200, 200))
    image = image.convert(mode)
    if mode == "P":
        key = image.getpixel((0, 0))
    seen = decoded(encoded(image, "PNG", transparency=key))
    assert [pixel(seen, x)[0] for x in (0, 1)] == pytest.approx([255, 200], abs=8)


def test_half_opacity_mixes_with_white() -> None:
    assert pixel(decoded(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))) == (127, 127, 127)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
    assert pixel(decoded(data)) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "size", "blue_corner"),
    [(1, (32, 24), (2, 2)), (3, (32, 24), (28, 20)), (6, (24, 32), (20, 2)), (8, (24, 32), (2, 28))],
)
def test_exif_orientation_is_applied_once(
    file_format: str, orientation: int, size: tuple[int, int], blue_corner: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = decoded(encoded(picture(), file_format, exif=exif))
    assert image.size == size
    assert pixel(image, *blue_corner)[2] > 180


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_spoil_the_picture() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\xff" * 9)
    assert decoded(data).size == (32, 24)


def test_a_broken_colour_profile_does_not_spoil_the_picture() -> None:
    assert decoded(encoded(picture(), "JPEG", icc_profile=b"no profile")).size == (32, 24)


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "EPS", "PCX", "TGA", "JPEG2000", "PDF"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(BadInputError, match=r"file 2 is not an image that can be read\. Formats: PNG, JPEG"):
        decoded(encoded(picture(), file_format))


@pytest.mark.parametrize("data", [b"GIF", b"\x00" * 100, b"<svg/>", b"hello", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00"])
def test_what_is_no_image_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(BadInputError, match="file 2"):
        decoded(data)


def test_an_empty_file_is_refused_by_name() -> None:
    with pytest.raises(BadInputError, match="file 2 is empty"):
        decoded(b"")


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_truncated_file_is_refused_by_name(file_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    data = encoded(noise, file_format)
    with pytest.raises(BadInputError, match="file 2"):
        decoded(data[: len(data) // 2])


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_are_refused(width: int, height: int) -> None:
    with pytest.raises(BadInputError, match="file 2"):
        decoded(png(width, height, 8, 2, b""))
    with pytest.raises(BadInputError, match="file 2"):
        decoded(bmp(width, height))


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


@pytest.mark.parametrize("side", [1001, 20_000, 60_000])
@pytest.mark.parametrize("header", [lambda n: png(n, n, 8, 2, b""), lambda n: bmp(n, n)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_before_decoding(side: int, header: Callable[[int], bytes]) -> None:
    """The files hold no pixel at all, so a decoder that was asked would find them broken."""
    with pytest.raises(TooLargeError, match="file 2 has more pixels than the limit of 1 megapixels"):
        decoded(header(side))


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_where_warnings_are_errors() -> None:
    with pytest.raises(TooLargeError):
        decoded(png(12_000, 12_000, 8, 2, b""))


def test_the_limit_itself_is_accepted() -> None:
    assert decoded(encoded(Image.new("1", (1000, 1000)))).size == (1000, 1000)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", FORMATS)
def test_damaged_files_give_a_picture_or_a_clear_error(file_format: str) -> None:
    intact = encoded(picture("P" if file_format == "GIF" else "RGB"), file_format)
    chance = random.Random(7)
    for _ in range(300):
        data = bytearray(intact)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            image = decode_image(bytes(data), "file 2", MAX_PIXELS)
        except (BadInputError, TooLargeError):
            continue
        assert image.mode == "RGB"


@pytest.mark.parametrize(
    "raised",
    [OSError, SyntaxError, struct.error, EOFError, OverflowError, MemoryError, zlib.error, KeyError, AssertionError],
)
def test_whatever_a_decoder_raises_is_a_clear_error(raised: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image.Image, *arguments: Any) -> None:
        raise raised("inner details")

    data = encoded(picture(), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(BadInputError, match=r"^file 2 is a broken image: it cannot be decoded\.$"):
        decoded(data)
