"""Pictures that are odd, broken or hostile, through every route that takes one."""

import io
import struct
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import Server
from tests.pictures import b64, encoded, png

pytestmark = pytest.mark.e2e


def gradient(mode: str, width: int = 60, height: int = 40) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def animated_gif() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (40, 30), index) for index in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def sixteen_bits(file_format: str) -> bytes:
    return encoded(Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27), file_format)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG whose header announces this size, with hardly any pixels in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(gradient("RGB"), "JPEG", exif=exif)


GOOD = {
    "CMYK JPEG": encoded(gradient("CMYK"), "JPEG"),
    "grey JPEG": encoded(gradient("L"), "JPEG"),
    "rotated JPEG": rotated_jpeg(),
    "16 bit PNG": sixteen_bits("PNG"),
    "16 bit TIFF": sixteen_bits("TIFF"),
    "float TIFF": encoded(gradient("F"), "TIFF"),
    "1 bit PNG": encoded(gradient("1"), "PNG"),
    "1 bit TIFF": encoded(gradient("1"), "TIFF"),
    "grey with alpha": encoded(gradient("L").convert("LA"), "PNG"),
    "palette with transparency": encoded(gradient("L").convert("P"), "PNG", transparency=3),
    "RGBA WebP": encoded(gradient("RGBA"), "WEBP"),
    "BMP": encoded(gradient("RGB"), "BMP"),
    "animated GIF": animated_gif(),
    "one pixel": png(1, 1),
    "a line of 20": png(20, 1),
    "a column of 20": png(1, 20),
    "broken EXIF": encoded(gradient("RGB"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
}
TOO_NARROW = {"a line of 3000": png(3000, 1), "a column of 3000": png(1, 3000)}
BAD = {
    "nothing": b"",
    "text": b"hello",
    "NULs": b"\0" * 1000,
    "only a PNG's signature": b"\x89PNG\r\n\x1a\n",
    "a cut PNG": png(200, 200)[:150],
    "a cut JPEG": encoded(gradient("RGB", 400, 400), "JPEG")[:300],
    "a cut GIF": animated_gif()[:20],
    "a PNG with broken pixels": png_of(50, 50),
    "a PNG of no size": png_of(0, 0),
    "a PNG with a bomb in its text": png_of(10, 10, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 100_000_000))),
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(%pipe%id) (w) file\nshowpage\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd"/></svg>',
    "PDF": b"%PDF-1.4\n1 0 obj <<>> endobj\n",
    "ICO": encoded(gradient("RGBA", 32, 32), "ICO"),
    "PPM": encoded(gradient("RGB"), "PPM"),
    "a TIFF without directories": b"II*\0\xff\xff\xff\xff",
}
TOO_LARGE = {
    "a header of 60000 x 60000": png_of(60_000, 60_000),
    "2 billion on a side": png_of(2**31 - 1, 2**31 - 1),
    "a BMP of minus 10 columns": b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, -10, -10, 1, 24, 0, 16, 0, 0, 0, 0),
}

EMBED_MODELS = ("colqwen2.5-untrained", "colqwen2-untrained", "colpali-untrained")


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def answers(client: httpx.Client, image: bytes) -> Iterator[httpx.Response]:
    """Of every route that takes a picture, and of every model."""
    for model in EMBED_MODELS:
        yield client.post("/embed/images", files=[("files", ("a.png", image))], params={"model": model})
    for path in ("/interpret", "/query/single", "/query/single/heatmap"):
        yield client.post(path, files={"file": ("a.png", image)}, data={"query": "red", "token_idx": "0"})
    yield client.post("/predict", json={"image_data": b64(image), "embedding_types": ["cls_token", "patch_features"]})
    yield client.post("/", json={"inputs": [], "image": [b64(image)]})


def named(cases: dict[str, bytes]) -> list[object]:
    return [pytest.param(case, id=name) for name, case in cases.items()]


@pytest.mark.parametrize("image", named(GOOD))
def test_odd_pictures_are_embedded(client: httpx.Client, image: bytes) -> None:
    for answer in answers(client, image):
        assert answer.status_code == 200, (answer.request.url, answer.text[:300])


@pytest.mark.parametrize("image", named(TOO_NARROW))
def test_pictures_that_are_hardly_wide_are_embedded_or_refused(client: httpx.Client, image: bytes) -> None:
    for answer in answers(client, image):
        assert answer.status_code in (200, 400), (answer.request.url, answer.text[:300])


@pytest.mark.parametrize("image", named(BAD))
def test_what_is_no_picture_is_400(client: httpx.Client, image: bytes) -> None:
    for answer in answers(client, image):
        assert answer.status_code == 400, (answer.request.url, answer.text[:300])
        assert len(answer.content) < 300


@pytest.mark.parametrize("image", named(TOO_LARGE))
def test_decompression_bombs_are_413(client: httpx.Client, image: bytes) -> None:
    for answer in answers(client, image):
        assert answer.status_code == 413, (answer.request.url, answer.text[:300])


def test_base64_of_every_kind(client: httpx.Client) -> None:
    good = b64(png())
    for text in (good, f"data:image/png;base64,{good}", f" {good}\n", good[:40] + "\r\n" + good[40:]):
        assert client.post("/predict", json={"image_data": text}).status_code == 200
    for text in (
        "=",
        "====",
        good[:-5],
        "data:image/png;base64,",
        "data:image/png," + good,
        "é" * 100,
        "\0",
        "http://x/y.png",
    ):
        assert client.post("/predict", json={"image_data": text}).status_code == 400, text


def test_the_server_is_well_afterwards(server: Server, client: httpx.Client) -> None:
    """Runs last in this module."""
    assert client.get("/health").json()["status"] == "healthy"
    assert "Traceback" not in server.log
