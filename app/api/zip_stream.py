"""A ZIP archive written while it is sent, so that it never stands in memory as a whole."""

from collections.abc import Iterable, Iterator
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo


class _Sink:
    """A file that cannot seek and hands out what was written to it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def zip_stream(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """The archive's bytes, at least one piece for each member (name, content); contents are not compressed again."""
    sink = _Sink()
    # Deflate at level 0 rather than ZIP_STORED: some readers refuse stored members whose size follows them.
    with ZipFile(sink, "w", ZIP_DEFLATED, compresslevel=0) as archive:
        for name, content in members:
            info = ZipInfo(name)
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=0)
            yield sink.take()
    yield sink.take()
