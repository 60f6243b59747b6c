"""Uploaded pairs of page and query: what is read, and what is refused with a reason."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from app.core.errors import BadInputError, TooLargeError
from app.training.folders import IMAGES
from app.training.options import TrainingOptions
from app.training.page_dataset import read_dataset
from app.training.page_pairs import PageLimits, PagePair, read_page_pairs, write_page_pairs
from app.training.pairs_split import TextPair
from tests.parity.visual_pictures import page, png

PICTURES = [png(page(40, 30, seed)) for seed in range(3)]
LIMITS = PageLimits(max_pairs=10, max_image_bytes=1 << 20, max_pixels=10_000, max_query_chars=50)
BYTES_AND_PATH = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def text_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


IMAGE = text_of(PICTURES[0])


def line(query: Any = "q", image: Any = IMAGE) -> dict[str, Any]:
    return {"query": query, "image": image}


def json_lines(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def parquet_file(file: Path, images: list[Any], kind: pa.DataType, queries: list[Any] | None = None) -> Path:
    names = queries or [f"query {number}" for number in range(len(images))]
    parquet.write_table(pa.table({"query": names, "image": pa.array(images, kind)}), file)
    return file


def jpeg(width: int, height: int) -> bytes:
    file = BytesIO()
    page(width, height).save(file, "JPEG")
    return file.getvalue()


class TestReading:
    def test_json_lines_with_base64_and_data_uris(self, tmp_path: Path) -> None:
        rows = [line("a"), line("b", "data:image/png;base64," + text_of(PICTURES[1]))]
        assert list(read_page_pairs(json_lines(tmp_path / "pairs", rows), LIMITS)) == [
            PagePair("Line 1", "a", PICTURES[0]),
            PagePair("Line 2", "b", PICTURES[1]),
        ]

    def test_blank_lines_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "pairs.jsonl"
        file.write_bytes(
            b"\xef\xbb\xbf" + json.dumps(line("a")).encode() + b"\r\n\r\n" + json.dumps(line("b")).encode()
        )
        assert [(pair.label, pair.query) for pair in read_page_pairs(file, LIMITS)] == [
            ("Line 1", "a"),
            ("Line 3", "b"),
        ]

    @pytest.mark.parametrize(
        ("kind", "images"),
        [
            (pa.binary(), PICTURES),
            (pa.large_binary(), PICTURES),
            (pa.string(), [text_of(picture) for picture in PICTURES]),
            (BYTES_AND_PATH, [{"bytes": picture, "path": "/etc/passwd"} for picture in PICTURES]),
        ],
    )
    def test_parquet(self, tmp_path: Path, kind: pa.DataType, images: list[Any]) -> None:
        pairs = list(read_page_pairs(parquet_file(tmp_path / "pairs", images, kind), LIMITS))
        assert pairs == [PagePair(f"Row {n}", f"query {n - 1}", PICTURES[n - 1]) for n in (1, 2, 3)]

    def test_as_datasets_writes_it(self, tmp_path: Path) -> None:
        from datasets import Dataset, Features, Image, Value

        rows = {"query": ["a", "b"], "image": [page(20, 20, seed) for seed in range(2)]}
        Dataset.from_dict(rows, Features(query=Value("string"), image=Image())).to_parquet(tmp_path / "pairs.parquet")
        assert [pair.query for pair in read_page_pairs(tmp_path / "pairs.parquet", LIMITS)] == ["a", "b"]


class TestWriting:
    def test_the_jobs_dataset(self, tmp_path: Path) -> None:
        """Images as they were sent, one that comes twice is there once."""
        photo = jpeg(20, 10)
        rows = [line("a"), line("b\u2028c", text_of(photo)), line("d")]
        written = write_page_pairs(json_lines(tmp_path / "upload", rows), tmp_path, LIMITS, TrainingOptions())
        assert (written.n_pairs, written.n_ignored, len(written.sha256)) == (3, 0, 64)
        assert read_dataset(tmp_path) == [
            TextPair("a", "000000.png"),
            TextPair("b\u2028c", "000001.jpeg"),
            TextPair("d", "000000.png"),
        ]
        assert {file.name: file.read_bytes() for file in (tmp_path / IMAGES).iterdir()} == {
            "000000.png": PICTURES[0],
            "000001.jpeg": photo,
        }

    @pytest.mark.parametrize("rows", [[], [line()], [line("a"), line("b")]])
    def test_two_images_are_needed(self, tmp_path: Path, rows: list[Any]) -> None:
        with pytest.raises(BadInputError, match="two different queries and two different images"):
            write_page_pairs(json_lines(tmp_path / "upload", rows), tmp_path, LIMITS, TrainingOptions())


class TestRefusals:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ([1], "Line 2 must be an object"),
            ({"image": text_of(PICTURES[0])}, "Line 2: `query` must be a text"),
            (line(""), "Line 2: `query` must be a text"),
            (line(" \t"), "Line 2: `query` must be a text"),
            (line(7), "Line 2: `query` must be a text"),
            (line("a \ud800"), "Line 2: `query` has characters that are none"),
            ({"query": "q"}, "Line 2: `image` must hold the image itself"),
            (line(image=["x"]), "Line 2: `image` must hold the image itself"),
            (line(image={"path": "/etc/passwd"}), "Line 2: `image` must hold the image itself"),
            (line(image="https://example.com/a.png"), "Line 2: the image is a web address"),
            (line(image="/etc/passwd.."), "Line 2: the image is not valid base64"),
            (line(image=text_of(b"%PDF-1.7")), "Line 2: the image is not an image that can be read"),
            (line(image=text_of(PICTURES[0][:200])), "Line 2: the image is a broken image"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, row: Any, message: str) -> None:
        with pytest.raises(BadInputError, match=message):
            list(read_page_pairs(json_lines(tmp_path / "pairs", [line(), row]), LIMITS))

    @pytest.mark.parametrize(
        "content", [b"{", b"\xff\xfe{}", b"[" * 100_000, b"\x00" * 10, b'{"query": "a" "image": 1}']
    )
    def test_what_is_no_json(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "pairs").write_bytes(content)
        with pytest.raises(BadInputError, match="Line 1 is not valid JSON"):
            list(read_page_pairs(tmp_path / "pairs", LIMITS))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (line("a" * 51), "Line 2: the query is longer than the limit of 50 characters"),
            (line(image=text_of(png(page(200, 60)))), r"Line 2: the image has more pixels than the limit of 0\.01"),
            (line(image=text_of(bytes((1 << 20) + 1))), "Line 2: the image is larger than the limit of 1 MiB"),
            (line(image="A" * (2 << 20)), "Line 2 is longer than an image of 1 MiB makes it"),
        ],
    )
    def test_too_large(self, tmp_path: Path, row: Any, message: str) -> None:
        with pytest.raises(TooLargeError, match=message):
            list(read_page_pairs(json_lines(tmp_path / "pairs", [line(), row]), LIMITS))

    def test_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(TooLargeError, match="At most 10 training pairs"):
            list(read_page_pairs(json_lines(tmp_path / "pairs", [line()] * 11), LIMITS))


class TestParquetRefusals:
    @pytest.mark.parametrize("image", [None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": b"", "path": None}])
    def test_paths_are_not_followed(self, tmp_path: Path, image: Any) -> None:
        file = parquet_file(tmp_path / "pairs", [{"bytes": PICTURES[0], "path": None}, image], BYTES_AND_PATH)
        with pytest.raises(BadInputError, match="Row 2: `image` must hold the image itself"):
            list(read_page_pairs(file, LIMITS))

    def test_other_types(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match="Row 1: `query` must be a text"):
            list(read_page_pairs(parquet_file(tmp_path / "pairs", PICTURES, pa.binary(), [1, 2, 3]), LIMITS))
        with pytest.raises(BadInputError, match="Row 1: `image` must hold the image itself"):
            list(read_page_pairs(parquet_file(tmp_path / "pairs", [1, 2], pa.int64()), LIMITS))

    def test_other_columns(self, tmp_path: Path) -> None:
        parquet.write_table(pa.table({"question": ["a"], "image": PICTURES[:1]}), tmp_path / "pairs")
        with pytest.raises(BadInputError, match="needs the columns `query` and `image`"):
            list(read_page_pairs(tmp_path / "pairs", LIMITS))

    def test_more_than_it_seems(self, tmp_path: Path) -> None:
        file = parquet_file(tmp_path / "pairs", [bytes(10_000)], pa.binary())
        with pytest.raises(TooLargeError, match="unpacks to more"):
            list(read_page_pairs(file, PageLimits(max_unpacked_bytes=5000)))

    @pytest.mark.parametrize("damage", ["cut", "overwritten", "only the name"])
    def test_broken(self, tmp_path: Path, damage: str) -> None:
        whole = parquet_file(tmp_path / "pairs", PICTURES, pa.binary()).read_bytes()
        middle = len(whole) // 2
        broken = {
            "cut": whole[:middle],
            "overwritten": whole[:4] + bytes(middle) + whole[4 + middle :],
            "only the name": b"PAR1",
        }
        (tmp_path / "pairs").write_bytes(broken[damage])
        with pytest.raises(BadInputError, match=r"Parquet file is broken|not an image|`image` must"):
            list(read_page_pairs(tmp_path / "pairs", LIMITS))
