"""ZIP archives written while they are sent."""

import io
import zipfile
from collections.abc import Iterator

from app.api.zip_stream import zip_stream


def test_the_archive_holds_the_members_in_order() -> None:
    members = [("a.png", b"a" * 100_000), ("b.png", b""), ("ü.png", b"b")]
    archive = zipfile.ZipFile(io.BytesIO(b"".join(zip_stream(members))))
    assert archive.testzip() is None
    assert [(name, archive.read(name)) for name in archive.namelist()] == members


def test_a_member_goes_out_before_the_next_is_made() -> None:
    made = []

    def members() -> Iterator[tuple[str, bytes]]:
        for index in range(3):
            made.append(index)
            yield f"{index}.png", bytes([index]) * 1000

    stream = zip_stream(members())
    first = next(stream)
    assert made == [0]
    assert b"\0" * 1000 in first
