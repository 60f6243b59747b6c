"""Requests as bytes on a socket, for what no client library would send."""

import http.client
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 60


@dataclass(frozen=True)
class RawAnswer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def exchange(url: str, request: bytes | Iterable[bytes]) -> RawAnswer:
    """Send `request` in these pieces and read one answer. Raises `OSError` if the connection is reset."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=TIMEOUT_S) as connection:
        for piece in [request] if isinstance(request, bytes) else request:
            connection.sendall(piece)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return RawAnswer(answer.status, answer.headers, answer.read())


def head(path: str, *headers: str) -> bytes:
    """The beginning of a POST, up to its body, in Latin-1."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST with a true Content-Length and these further headers."""
    return head(path, f"Content-Length: {len(body)}", *headers) + body


def post_json(path: str, body: bytes) -> bytes:
    return post(path, body, "Content-Type: application/json")


def post_form(path: str, *parts: tuple[str, bytes], boundary: str = "BOUNDARY") -> bytes:
    """Multipart parts as (header lines, content); nothing is added to them."""
    body = b"".join(
        b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), content) for head, content in parts
    )
    return post(
        path, body + b"--%s--\r\n" % boundary.encode(), f"Content-Type: multipart/form-data; boundary={boundary}"
    )


def chunked(path: str, chunks: Iterable[bytes], content_type: str = "application/json") -> Iterator[bytes]:
    """A POST without Content-Length."""
    yield head(path, "Transfer-Encoding: chunked", f"Content-Type: {content_type}")
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)
    yield b"0\r\n\r\n"
