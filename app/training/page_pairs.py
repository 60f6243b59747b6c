"""Training pairs of a page's image and a query, as they are uploaded: JSON lines, or Parquet as `datasets` writes it.

Nothing in a file is followed: neither web addresses nor the paths that Parquet files keep beside images.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Self, cast

from PIL import Image

from app.core.base64_images import decode_base64_image_bytes
from app.core.errors import BadInputError, TooLargeError
from app.core.images import FORMATS, decode_image
from app.settings import Settings
from app.training.disk import force_all_to_disk
from app.training.enough import require_enough
from app.training.folders import IMAGES
from app.training.jobs import Dataset
from app.training.options import TrainingOptions
from app.training.pairs_split import TextPair
from app.training.task import DATASET_FILE

PARQUET_MAGIC = b"PAR1"
ROWS_AT_ONCE = 4
"""Rows of a Parquet file in memory: each has an image."""
LINE_OVERHEAD_BYTES = 1024
"""Of a JSON line, beside its query and image."""


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How much is accepted."""

    max_pairs: int = 100_000
    max_image_bytes: int = 20 << 20
    """Of one encoded image."""
    max_pixels: int = 40_000_000
    max_query_chars: int = 10_000
    max_unpacked_bytes: int = 16 << 30
    """Of a Parquet file's columns, before its compression."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            max_pairs=settings.max_training_pairs,
            max_pixels=settings.max_image_pixels,
            max_query_chars=settings.max_text_chars,
        )


@dataclass(frozen=True, slots=True)
class PagePair:
    """One pair as it was uploaded."""

    label: str
    """Where it stands, for error messages: `Line 3`, `Row 3`."""
    query: str
    image: bytes


@dataclass(slots=True)
class ImageFolder:
    """Writes images under running numbers; one that comes again is not written again."""

    folder: Path
    names: dict[bytes, str] = field(default_factory=dict)
    """Checksum -> file name."""

    def add(self, image: bytes) -> str:
        """The name of the file that holds these bytes, which are those of an image."""
        checksum = hashlib.sha256(image).digest()
        if checksum not in self.names:
            name = f"{len(self.names):06}.{_suffix(image)}"
            (self.folder / name).write_bytes(image)
            self.names[checksum] = name
        return self.names[checksum]


def write_page_pairs(file: Path, folder: Path, limits: PageLimits, options: TrainingOptions) -> Dataset:
    """Check an uploaded file and write the job's dataset: `dataset.jsonl` and `images/`. Its checksum is the upload's.

    What the file is told by its content, not by its name. Raises `BadInputError` and `TooLargeError`, which name the
    line or row and what to change there, and what is missing if nothing can be learned from the pairs.
    """
    images = ImageFolder(folder / IMAGES)
    images.folder.mkdir(exist_ok=True)
    pairs = []
    with (folder / DATASET_FILE).open("w", encoding="utf-8") as dataset:
        for pair in read_page_pairs(file, limits):
            pairs.append(TextPair(pair.query, images.add(pair.image)))
            line = {"query": pair.query, "image": pairs[-1].positive}
            dataset.write(json.dumps(line, ensure_ascii=False) + "\n")
    require_enough(pairs, options, "images")
    force_all_to_disk(folder)
    return Dataset(len(pairs), 0, _sha256(file))


def read_page_pairs(file: Path, limits: PageLimits) -> Iterator[PagePair]:
    """The pairs of an uploaded file, checked one after another, images decoded once. Raises as `write_page_pairs`."""
    with file.open("rb") as stream:
        is_parquet = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    rows = _parquet_rows(file, limits) if is_parquet else _json_lines(file, limits)
    for number, (label, row) in enumerate(rows, start=1):
        if number > limits.max_pairs:
            raise TooLargeError(f"At most {limits.max_pairs} training pairs are accepted; send a part of them.")
        yield _pair(label, row, limits)


def _pair(label: str, row: Mapping[str, Any], limits: PageLimits) -> PagePair:
    pair = PagePair(label, _query(label, row.get("query"), limits), _image_bytes(label, row.get("image")))
    if len(pair.image) > limits.max_image_bytes:
        raise TooLargeError(f"{label}: the image is larger than the limit of {limits.max_image_bytes >> 20} MiB.")
    decode_image(pair.image, f"{label}: the image", limits.max_pixels)
    return pair


def _query(label: str, query: Any, limits: PageLimits) -> str:
    if not isinstance(query, str) or not query.strip():
        raise BadInputError(f"{label}: `query` must be a text that is not empty.")
    if len(query) > limits.max_query_chars:
        raise TooLargeError(f"{label}: the query is longer than the limit of {limits.max_query_chars} characters.")
    if any("\ud800" <= character <= "\udfff" for character in query):
        raise BadInputError(f"{label}: `query` has characters that are none (lone surrogates).")
    return query


def _image_bytes(label: str, image: Any) -> bytes:
    if isinstance(image, Mapping):
        image = image.get("bytes")
    if isinstance(image, str):
        return decode_base64_image_bytes(image, f"{label}: the image")
    if not isinstance(image, bytes) or not image:
        raise BadInputError(f"{label}: `image` must hold the image itself; paths and addresses are not followed.")
    return image


def _json_lines(file: Path, limits: PageLimits) -> Iterator[tuple[str, dict[str, Any]]]:
    # Base64 makes four bytes of three, and JSON up to twelve of a character.
    longest = limits.max_image_bytes * 4 // 3 + 12 * limits.max_query_chars + LINE_OVERHEAD_BYTES
    with file.open("rb") as stream:
        for number, line in enumerate(_lines(stream, longest), start=1):
            label = f"Line {number}"
            if len(line) > longest:
                raise TooLargeError(f"{label} is longer than an image of {limits.max_image_bytes >> 20} MiB makes it.")
            if content := line.removeprefix(b"\xef\xbb\xbf").strip():
                yield label, _json_object(label, content)


def _lines(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """With at most one byte more than `longest` each."""
    while line := stream.readline(longest + 1):
        yield line


def _json_object(label: str, content: bytes) -> dict[str, Any]:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{label} is not valid JSON: each line is one object, in UTF-8.") from error
    if not isinstance(row, dict):
        raise BadInputError(f'{label} must be an object like {{"query": "...", "image": "<base64>"}}.')
    return row


def _parquet_rows(file: Path, limits: PageLimits) -> Iterator[tuple[str, dict[str, Any]]]:
    from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]

    try:
        with parquet.ParquetFile(file) as table:
            batches = table.iter_batches(ROWS_AT_ONCE, columns=_columns(table, limits), use_threads=False)
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from ((f"Row {number}", row) for number, row in enumerate(rows, start=1))
    # Text that is no UTF-8 is a ValueError.
    except (ArrowException, OSError, ValueError) as error:
        raise BadInputError("The Parquet file is broken, or of a kind that cannot be read.") from error


def _columns(table: Any, limits: PageLimits) -> list[str]:
    """What to read; of images with a path beside them the bytes alone."""
    from pyarrow import types

    schema, metadata = table.schema_arrow, table.metadata
    if not {"query", "image"} <= set(schema.names):
        raise BadInputError("The Parquet file needs the columns `query` and `image`.")
    unpacked = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if unpacked > limits.max_unpacked_bytes:
        raise TooLargeError(
            f"The Parquet file unpacks to more than the limit of {limits.max_unpacked_bytes >> 30} GiB."
        )
    is_struct = types.is_struct(schema.field("image").type)
    return ["query", "image.bytes" if is_struct else "image"]


def _suffix(image: bytes) -> str:
    return cast(str, Image.open(BytesIO(image), formats=FORMATS).format).lower()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
