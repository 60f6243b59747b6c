"""PDFs on the routes that take files, and their pages as pictures."""

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.api.conftest import Serve
from tests.fake_pdf_worker import COMMAND, hostile
from tests.fakes import word_vector
from tests.pdfs import pdf
from tests.pictures import encoded, png

BROKEN = b"%PDF-1.7\nthat is all"
MATCHING = ["/interpret", "/query/single", "/query/single/heatmap"]


def files(*contents: bytes, name: str = "report.pdf") -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name, content)) for content in contents]


async def embedded(client: httpx.AsyncClient, *contents: bytes, **options: Any) -> list[dict[str, Any]]:
    answer = await client.post("/embed/images", files=files(*contents), params=options)
    assert answer.status_code == 200, answer.text
    embeddings: list[dict[str, Any]] = answer.json()["embeddings"]
    return embeddings


async def pages(client: httpx.AsyncClient, content: bytes, **options: Any) -> list[dict[str, Any]]:
    answer = await client.post("/pages", files={"file": ("report.pdf", content)}, params=options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def match(client: httpx.AsyncClient, path: str, content: bytes, **fields: Any) -> httpx.Response:
    return await client.post(path, data={"query": "red", **fields}, files={"file": ("report.pdf", content)})


def picture(page: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(page["image"])))


def left_color(embedding: dict[str, Any]) -> np.ndarray:
    return np.float32(embedding["embedding"][embedding["image_patch_start"]])


class TestEmbedding:
    async def test_a_pdf_brings_a_result_a_page_with_its_place(self, client: httpx.AsyncClient) -> None:
        first, second, third = await embedded(client, pdf("red", "blue", "green"))
        assert [(one["file"], one["page"]) for one in (first, second, third)] == [(0, 1), (0, 2), (0, 3)]
        for one, color in ((first, "red"), (second, "blue"), (third, "green")):
            np.testing.assert_array_equal(left_color(one), word_vector(color))

    async def test_images_and_pdfs_keep_their_order_and_images_their_form(self, client: httpx.AsyncClient) -> None:
        results = await embedded(client, png(64, 48, "red"), pdf("green", "blue"), png(64, 48, "white"), pdf("red"))
        places = [(one.get("file"), one.get("page")) for one in results]
        assert places == [(None, None), (1, 1), (1, 2), (None, None), (3, 1)]
        for one, color in zip(results, ("red", "green", "blue", "white", "red"), strict=True):
            np.testing.assert_array_equal(left_color(one), word_vector(color))
        (alone,) = await embedded(client, png(64, 48, "red"))
        assert alone == results[0]
        assert not {"file", "page"} & alone.keys()

    async def test_a_page_has_the_vectors_of_the_picture_that_pages_gives(self, client: httpx.AsyncClient) -> None:
        document = pdf("red", "blue", width=333, height=222)
        drawn = [base64.b64decode(page["image"]) for page in await pages(client, document)]
        from_pdf, from_pictures = await embedded(client, document), await embedded(client, *drawn)
        assert [one["embedding"] for one in from_pdf] == [one["embedding"] for one in from_pictures]

    async def test_many_pages_are_worked_on_in_groups(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.api.uploads.PAGES_A_GROUP", 2)
        results = await embedded(client, pdf("red", "blue", "green"), png(), pdf("red", "blue"))
        assert [one.get("page") for one in results] == [1, 2, 3, None, 1, 2]
        monkeypatch.setattr("app.api.uploads.BYTES_A_GROUP", 1)
        assert len(await embedded(client, pdf("red", "blue", "green"))) == 3

    async def test_options_and_formats_apply_to_pages_too(self, client: httpx.AsyncClient) -> None:
        (whole,) = await embedded(client, pdf("red"))
        (pooled,) = await embedded(client, pdf("red"), pooling="rows")
        assert pooled["image_patch_len"] < whole["image_patch_len"]
        accept = {"Accept": "application/x-npz"}
        answer = await client.post("/embed/images", files=files(pdf("red", "blue")), headers=accept)
        arrays = np.load(io.BytesIO(answer.content))
        assert json.loads(arrays["metadata"].tobytes())["embeddings"][1]["page"] == 2
        assert "render;dur=" in answer.headers["server-timing"]

    async def test_pages_count_as_items_and_none_is_drawn_beyond_them(self, serving: Serve) -> None:
        async with serving(max_items=3) as client:
            assert len(await embedded(client, pdf("red", "blue"), png())) == 3
            for contents in (
                (pdf(*["red"] * 4),),
                (pdf("red", "blue"), pdf("red", "blue")),
                (pdf(*["red"] * 3), png()),
            ):
                answer = await client.post("/embed/images", files=files(*contents))
                assert answer.status_code == 413
                assert "3 items" in answer.json()["detail"]
            assert "render" not in (await client.post("/embed/images", files=files(png()))).headers["server-timing"]

    @pytest.mark.parametrize(
        ("contents", "message"),
        [
            ([png(), BROKEN], "File 2 (report.pdf) is a broken PDF: it cannot be opened."),
            ([pdf("red"), pdf("red", None)], "File 2 (report.pdf), page 2 cannot be drawn"),
        ],
    )
    async def test_a_bad_file_or_page_is_named(
        self, client: httpx.AsyncClient, contents: list[bytes], message: str
    ) -> None:
        answer = await client.post("/embed/images", files=files(*contents))
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(message)

    async def test_an_image_that_mentions_a_pdf_is_an_image(self, client: httpx.AsyncClient) -> None:
        about = PngInfo()
        about.add_text("Source", "%PDF-1.7")
        image = encoded(Image.new("RGB", (64, 48), "red"), pnginfo=about)
        assert b"%PDF-" in image[:100]
        (result,) = await embedded(client, image)
        assert "page" not in result

    async def test_other_programs_may_have_written_before_the_pdf(self, client: httpx.AsyncClient) -> None:
        assert len(await embedded(client, b"\n\n" + pdf("red", "blue"))) == 2


class TestMatching:
    async def test_the_first_page_unless_another_is_named(self, client: httpx.AsyncClient) -> None:
        document = pdf("blue", "red")
        scores = [
            (await match(client, "/query/single", document, **fields)).json()["overall_similarity"]
            for fields in ({}, {"page": ""}, {"page": 1}, {"page": 2})
        ]
        assert scores[0] == scores[1] == scores[2] < scores[3] == pytest.approx(1)
        file = {"file": ("report.pdf", document)}
        answer = await client.post("/query/single", params={"page": 2}, data={"query": "red", "page": 1}, files=file)
        assert answer.json()["overall_similarity"] == scores[3]

    async def test_sizes_are_those_of_the_drawn_page(self, serving: Serve) -> None:
        async with serving(pdf_dpi=144) as client:
            answer = (await match(client, "/interpret", pdf("red", width=100, height=60))).json()
            heatmap = await match(client, "/query/single/heatmap", pdf("red", width=100, height=60), token_idx=0)
        assert (answer["image_width"], answer["image_height"]) == (200, 120)
        assert Image.open(io.BytesIO(heatmap.content)).size == (200, 120)

    @pytest.mark.parametrize("path", MATCHING)
    @pytest.mark.parametrize(
        ("content", "page", "message"),
        [
            (pdf("red", "blue"), 3, "File 1 (report.pdf) has 2 pages; there is no page 3."),
            (pdf("red"), 10**30, f"File 1 (report.pdf) has 1 page; there is no page {10**30}."),
            (pdf("red"), 0, "Pages are counted from 1."),
            (pdf("red"), -1, "Pages are counted from 1."),
            (png(), 2, "File 1 (report.pdf) is an image, which has no pages: leave out `page`, or send 1."),
        ],
    )
    async def test_a_page_that_is_not_there_is_refused(
        self, client: httpx.AsyncClient, path: str, content: bytes, page: int, message: str
    ) -> None:
        answer = await match(client, path, content, page=page)
        assert (answer.status_code, answer.json()["detail"]) == (400, message)

    @pytest.mark.parametrize("path", MATCHING)
    async def test_an_image_is_page_1(self, client: httpx.AsyncClient, path: str) -> None:
        assert (await match(client, path, png(), page=1)).status_code == 200
        assert (await match(client, path, png(), page="one")).status_code == 422


class TestPages:
    async def test_every_page_is_a_line_in_order(self, client: httpx.AsyncClient) -> None:
        lines = await pages(client, pdf("red", "green", "blue"))
        assert [(line["page"], line["n_pages"]) for line in lines] == [(1, 3), (2, 3), (3, 3)]
        for line, color in zip(lines, [(255, 0, 0), (0, 255, 0), (0, 0, 255)], strict=True):
            assert line.keys() == {"page", "n_pages", "width", "height", "image"}
            image = picture(line)
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert image.size == (line["width"], line["height"]) == (200, 100)
            assert image.getpixel((10, 10)) == color

    @pytest.mark.parametrize(
        ("options", "drawn"),
        [
            ({"first": 2}, [2, 3]),
            ({"last": 2}, [1, 2]),
            ({"first": 2, "last": 2}, [2]),
            ({"last": 100}, [1, 2, 3]),
        ],
    )
    async def test_some_pages_only(self, client: httpx.AsyncClient, options: dict[str, int], drawn: list[int]) -> None:
        document = pdf("red", "green", "blue")
        assert [line["page"] for line in await pages(client, document, **options)] == drawn
        answer = await client.post("/pages", files={"file": document}, data={k: str(v) for k, v in options.items()})
        assert len(answer.text.splitlines()) == len(drawn)

    async def test_smaller_pictures(self, client: httpx.AsyncClient) -> None:
        (line,) = await pages(client, pdf("red", width=300, height=600), max_side=64)
        assert picture(line).size == (line["width"], line["height"]) == (32, 64)
        (line,) = await pages(client, pdf("red"), max_side=5000)
        assert line["width"] == 200

    async def test_an_image_is_one_page(self, client: httpx.AsyncClient) -> None:
        turned = Image.new("RGB", (200, 100), "red")
        turned.getexif()[0x0112] = 6
        content = encoded(turned, "JPEG", exif=turned.getexif())
        (line,) = await pages(client, content)
        assert (line["page"], line["n_pages"], line["width"], line["height"]) == (1, 1, 100, 200)
        assert picture(line).size == (100, 200)
        (line,) = await pages(client, content, max_side=50)
        assert picture(line).size == (25, 50)

    async def test_a_bad_page_is_a_line_and_the_others_follow(self, client: httpx.AsyncClient) -> None:
        good, bad, after = await pages(client, pdf("red", None, "blue"))
        assert (good["page"], after["page"]) == (1, 3)
        assert bad.keys() == {"page", "n_pages", "error"}
        assert bad["error"].startswith("File 1 (report.pdf), page 2 cannot be drawn")

    @pytest.mark.parametrize(
        ("content", "options", "status", "message"),
        [
            (b"", {}, 400, "File 1 (report.pdf) is empty."),
            (b"no image", {}, 400, "File 1 (report.pdf) is not an image that can be read."),
            (BROKEN, {}, 400, "File 1 (report.pdf) is a broken PDF"),
            (pdf("red"), {"first": 2}, 400, "File 1 (report.pdf) has 1 page; there is no page 2."),
            (png(), {"first": 2}, 400, "File 1 (report.pdf) has 1 page; there is no page 2."),
            (pdf("red", "blue"), {"first": 2, "last": 1}, 400, "`last` is a page before `first`."),
            (pdf("red"), {"first": 0}, 400, "Pages are counted from 1."),
            (pdf("red"), {"max_side": 0}, 422, "max_side"),
            (pdf("red"), {"max_side": "wide"}, 422, "max_side"),
        ],
    )
    async def test_what_is_wrong_with_the_whole_is_said_before_the_first_line(
        self, client: httpx.AsyncClient, content: bytes, options: dict[str, Any], status: int, message: str
    ) -> None:
        answer = await client.post("/pages", files={"file": ("report.pdf", content)}, params=options)
        assert answer.status_code == status
        assert answer.json()["detail"].startswith(message)

    async def test_no_more_pages_than_max_items_at_once(self, serving: Serve) -> None:
        async with serving(max_items=2) as client:
            answer = await client.post("/pages", files={"file": pdf("red", "green", "blue")})
            assert answer.status_code == 413
            assert len(await pages(client, pdf("red", "green", "blue"), first=2)) == 2

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT"])
    async def test_no_other_method(self, client: httpx.AsyncClient, method: str) -> None:
        answer = await client.request(method, "/pages")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


class TestHostilePdfs:
    """They may end the process that draws, and nothing else."""

    @pytest.fixture(autouse=True)
    def _hostile_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.main.WORKER", COMMAND)

    @pytest.mark.parametrize("when", ["open", "draw"])
    async def test_a_crash_is_a_400_and_the_next_pdf_works(self, client: httpx.AsyncClient, when: str) -> None:
        bad = hostile(pdf("red"), when, "crash")
        for _ in range(2):
            answer = await client.post("/embed/images", files=files(png(), bad))
            assert answer.status_code == 400
            place = "File 2 (report.pdf)" + (", page 1" if when == "draw" else "")
            assert answer.json()["detail"] == f"{place} cannot be drawn: the PDF makes the reader crash."
            assert len(await embedded(client, pdf("red", "blue"))) == 2
        for path in MATCHING:
            assert (await match(client, path, bad)).status_code == 400

    async def test_pages_that_crash_are_lines_and_soon_given_up(self, client: httpx.AsyncClient) -> None:
        lines = await pages(client, hostile(pdf(*["red"] * 30), "draw", "crash"))
        assert len(lines) == 30
        assert all("crash" in line["error"] for line in lines)
