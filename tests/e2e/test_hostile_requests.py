"""Requests that a careless or hostile client sends, as raw bytes: always an answer, never 500, never a reset."""

from collections.abc import Iterable, Iterator

import pytest

from tests.e2e.conftest import Server
from tests.e2e.raw_http import chunked, exchange, head, post, post_form, post_json
from tests.pictures import png

pytestmark = pytest.mark.e2e

JSON_PATHS = (
    *("/patches", "/embed/queries", "/vectorize", "/vectorize-batch", "/vectorize-hybrid", "/vectorize-batch-hybrid"),
    *("/rerank", "/predict", "/"),
)
FORM_PATHS = ("/embed/images", "/interpret", "/query/single", "/query/single/heatmap")
FILE_FIELD = {"/embed/images": "files"}

MEBIBYTE = b"x" * 2**20

FIELDS = (
    *("text", "queries", "items", "query", "candidates", "dimensions", "inputs", "image", "image_data", "model"),
    *("is_query", "return_colbert", "sparse_keys", "batch_size", "normalize", "embedding_types", "image_size"),
)


def all_fields(value: bytes) -> bytes:
    """An object with every field of every route."""
    return b"{" + b", ".join(b'"%s": %s' % (name.encode(), value) for name in FIELDS) + b"}"


JSON_BODIES = {
    "empty": b"",
    "white space": b" \n",
    "cut": b'{"text": "a',
    "single quotes": b"{'text': 'a'}",
    "NaN": b'{"text": NaN, "items": NaN, "dimensions": [{"width": NaN, "height": 1}]}',
    "Infinity": b'{"text": "a", "batch_size": Infinity}',
    "1e400": b'{"text": "a", "query": "a", "candidates": ["a"], "batch_size": 1e400}',
    "-1e400": b'{"dimensions": [{"width": -1e400, "height": 1}]}',
    "1e308": b'{"dimensions": [{"width": 1e308, "height": 1}], "query": "a", "candidates": [], "batch_size": 1e308}',
    "many digits": b'{"dimensions": [{"width": ' + b"9" * 5000 + b', "height": 1}]}',
    "escaped lone surrogate": b'{"text": "\\ud800", "queries": "\\ud800", "items": ["\\udfff"], "query": "\\ud800"}',
    "raw lone surrogate": b'{"text": "\xed\xa0\x80", "queries": ["\xed\xa0\x80"]}',
    "surrogate as key": b'{"items": {"\\ud800": "a"}}',
    "bad UTF-8": b'{"text": "\xff\xfe\xc0\x80"}',
    "overlong UTF-8": b'{"text": "\xc0\xaf"}',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "UTF-32": '{"text": "a"}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"text": "a"}',
    "raw NUL": b'{"text": "a\x00b"}',
    "NUL bytes": b"\0" * 1000,
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"text":' * 100_000 + b"1" + b"}" * 100_000,
    "deep inside": b'{"text": "a", "items": ' + b"[" * 900 + b"]" * 900 + b"}",
    "two values": b"{}{}",
    "a list": b"[1, 2, 3]",
    "a string": b'"text"',
    "a number": b"5",
    "null": b"null",
    "all null": all_fields(b"null"),
    "all numbers": all_fields(b"1"),
    "all objects": all_fields(b"{}"),
    "all lists": all_fields(b"[]"),
    "all lists of null": all_fields(b"[null]"),
    "duplicate keys": b'{"text": "a", "text": {"b": 1}, "queries": "a", "queries": [], "items": ["a"], "items": 5}',
    "Python's own names": b'{"__class__": "a", "__proto__": {}, "constructor": {}, "model_config": 1, "self": 1}',
    "an endless word": b'{"text": "%s", "queries": "%s"}' % (b"a" * 300_000, b"a" * 300_000),
}

ODD_TEXTS = {
    "NUL": b'"a\\u0000b"',
    "empty": b'""',
    "white space": b'" \\t\\n\\u00a0\\u2003"',
    "right to left": b'"\\u202eabc\\u202c"',
    "no characters": b'"\\ufffe\\uffff\\u200b\\u200d"',
    "beyond the basic plane": b'"\\ud83d\\ude00\\udbff\\udfff"',
    "combining marks": b'"e' + b"\\u0301" * 1000 + b'"',
    "special tokens": b'"<s></s><pad><unk><mask><image><bos><|im_start|><|image_pad|><|endoftext|><|vision_start|>"',
    "control characters": b'"\\u0001\\u001b[31m\\u007f"',
}

HEADERS = {
    "no content type": (),
    "empty content type": ("Content-Type:",),
    "text": ("Content-Type: text/plain",),
    "form": ("Content-Type: application/x-www-form-urlencoded",),
    "multipart without a boundary": ("Content-Type: multipart/form-data",),
    "multipart with an empty boundary": ("Content-Type: multipart/form-data; boundary=",),
    "multipart with a huge boundary": ("Content-Type: multipart/form-data; boundary=" + "b" * 5000,),
    "odd charset": ("Content-Type: application/json; charset=utf-7",),
    "nonsense": ("Content-Type: \xff;;=;\xfe",),
    "two content types": ("Content-Type: application/json", "Content-Type: text/plain"),
    "gzip": ("Content-Type: application/json", "Content-Encoding: gzip"),
    "expect": ("Content-Type: application/json", "Expect: 200-maybe"),
    "odd key": ("Content-Type: application/json", "X-API-Key: \xff\xfe", "Authorization: Bearer \xff"),
    "odd accept": ("Content-Type: application/json", "Accept: \xff/\xfe;q=nan", "Accept-Encoding: x;q=1e400"),
}

FILE = 'Content-Disposition: form-data; name="FILE"; filename="a.png"\r\nContent-Type: image/png'
QUERY = 'Content-Disposition: form-data; name="query"'
FORMS: dict[str, list[tuple[str, bytes]]] = {
    "no parts": [],
    "a file as text": [('Content-Disposition: form-data; name="FILE"', b"text"), (QUERY, b"red")],
    "an empty filename": [('Content-Disposition: form-data; name="FILE"; filename=""', png()), (QUERY, b"red")],
    "an empty file": [(FILE, b""), (QUERY, b"red")],
    "an odd filename": [
        ('Content-Disposition: form-data; name="FILE"; filename="../\\"\x01<b>.png"', b"x"),
        (QUERY, b"red"),
    ],
    "an encoded filename": [
        ("Content-Disposition: form-data; name=\"FILE\"; filename*=utf-8''%ff%fe.png", png()),
        (QUERY, b"red"),
    ],
    "a filename of 10 kB": [
        (f'Content-Disposition: form-data; name="FILE"; filename="{"a" * 10_000}"', b"x"),
        (QUERY, b"red"),
    ],
    "no name": [("Content-Disposition: form-data", b"text")],
    "no disposition": [("Content-Type: image/png", png())],
    "another disposition": [('Content-Disposition: attachment; name="FILE"; filename="a"', png()), (QUERY, b"red")],
    "two files": [(FILE, png()), (FILE, b"broken"), (QUERY, b"red")],
    "two queries": [(FILE, png()), (QUERY, b"red"), (QUERY, b"blue")],
    "a query as a file": [(FILE, png()), (QUERY + '; filename="q"', b"red")],
    "a query of bad UTF-8": [(FILE, png()), (QUERY, b"\xff\xfe\xed\xa0\x80")],
    "a query of NULs": [(FILE, png()), (QUERY, b"\0\0\0")],
    "a query of white space": [(FILE, png()), (QUERY, b" \r\n ")],
    "a query in UTF-16": [
        (FILE, png()),
        (QUERY + "\r\nContent-Type: text/plain; charset=utf-16", "rot".encode("utf-16")),
    ],
    "a query of special tokens": [(FILE, png()), (QUERY, b"<image><|image_pad|></s><|im_end|>")],
    "a long query": [(FILE, png()), (QUERY, b"red " * 20_000)],
    "token_idx is no number": [
        *((FILE, png()), (QUERY, b"red"), ('Content-Disposition: form-data; name="token_idx"', b"one")),
    ],
    "token_idx is huge": [
        *((FILE, png()), (QUERY, b"red"), ('Content-Disposition: form-data; name="token_idx"', b"9" * 5000)),
    ],
    "model is a file": [
        (FILE, png()),
        (QUERY, b"red"),
        ('Content-Disposition: form-data; name="model"; filename="m"', b""),
    ],
    "model is odd": [(FILE, png()), (QUERY, b"red"), ('Content-Disposition: form-data; name="model"', b"../../etc\0")],
    "a thousand fields": [('Content-Disposition: form-data; name="x"', b"")] * 1000,
    "two thousand files": [(FILE, b"")] * 2000,
}

BROKEN_FORMS = {
    "not closed": b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
    "another boundary": b'--C\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--C--\r\n',
    "no empty line": b'--B\r\nContent-Disposition: form-data; name="file"\r\n--B--\r\n',
    "a header without an end": b"--B\r\n" + b"X" * 100_000,
    "a header that is none": b"--B\r\n\x00\x01\x02: \xff\r\n\r\nabc\r\n--B--\r\n",
    "no multipart at all": b'{"text": "a"}',
    "empty": b"",
    "only the end": b"--B--\r\n",
    "NULs": b"\0" * 10_000,
}

LINES = {
    "negative Content-Length": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nContent-Length: -5\r\n\r\n{}",
    "Content-Length is no number": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nContent-Length: many\r\n\r\n{}",
    "two Content-Lengths": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunks": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a bad chunk": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "an unknown coding": b"POST /vectorize HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: rot13\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "an unknown method": b"BREW /vectorize HTTP/1.1\r\nHost: t\r\n\r\n",
    "an unknown version": b"GET /health HTTP/9.9\r\nHost: t\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "a header of 100 kB": b"GET /health HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "a path of 50 kB": b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n",
    "an odd path": b"GET /%00%ff%ed%a0%80/../%2e%2e/etc HTTP/1.1\r\nHost: t\r\n\r\n",
    "an odd model": b"POST /models/%ed%a0%80%00..%2f/load HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
    "an odd query string": b"GET /info?model=%ff%00&model=%ed%a0%80&&==&%=1 HTTP/1.1\r\nHost: t\r\n\r\n",
    "a body with GET": b"GET /v1/models HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
}


def named(cases: dict[str, object]) -> list[object]:
    return [pytest.param(case, id=name) for name, case in cases.items()]


def check(server: Server, request: bytes | Iterable[bytes]) -> int:
    """An answer in JSON (or plain text, if it was not HTTP) below 500; a good one is what the route promises."""
    answer = exchange(server.url, request)
    assert answer.status < 500, (answer.status, answer.body[:300])
    if answer.status >= 400:
        assert len(answer.body) < 600
    return answer.status


@pytest.mark.parametrize("body", named(JSON_BODIES))
def test_json_bodies(server: Server, body: bytes) -> None:
    for path in JSON_PATHS:
        check(server, post_json(path, body))


@pytest.mark.parametrize("text", named(ODD_TEXTS))
def test_odd_texts_are_embedded(server: Server, text: bytes) -> None:
    assert check(server, post_json("/vectorize", b'{"text": %s}' % text)) == 200
    assert check(server, post_json("/vectorize-hybrid", b'{"text": %s, "return_colbert": true}' % text)) == 200
    assert check(server, post_json("/vectorize-batch", b'{"items": {%s: %s}}' % (text, text))) == 200
    assert check(server, post_json("/rerank", b'{"query": %s, "candidates": [%s, "a"]}' % (text, text))) == 200
    for model in (b"colqwen2.5", b"colqwen2", b"colpali"):
        body = b'{"queries": [%s, "a"], "model": "%s-untrained"}' % (text, model)
        assert check(server, post_json("/embed/queries", body)) == 200


@pytest.mark.parametrize("headers", named(HEADERS))
def test_headers(server: Server, headers: tuple[str, ...]) -> None:
    for path in (*JSON_PATHS, *FORM_PATHS):
        check(server, post(path, b'{"text": "a"}', *headers))


@pytest.mark.parametrize("parts", named(FORMS))
def test_forms(server: Server, parts: list[tuple[str, bytes]]) -> None:
    for path in FORM_PATHS:
        field = FILE_FIELD.get(path, "file")
        check(server, post_form(path, *((head.replace("FILE", field), content) for head, content in parts)))


@pytest.mark.parametrize("path", FORM_PATHS[1:])
def test_a_query_of_white_space_holds_no_words(server: Server, path: str) -> None:
    for query in (b"   ", b"\t\r\n", "\u00a0\u2003".encode()):
        file = FILE.replace("FILE", "file")
        assert check(server, post_form(path, (file, png()), (QUERY, query))) == 400


@pytest.mark.parametrize("body", named(BROKEN_FORMS))
def test_broken_forms(server: Server, body: bytes) -> None:
    for path in FORM_PATHS:
        assert 400 <= check(server, post(path, body, "Content-Type: multipart/form-data; boundary=B")) < 500


@pytest.mark.parametrize("request_bytes", named(LINES))
def test_requests_that_are_hardly_http(server: Server, request_bytes: bytes) -> None:
    check(server, request_bytes)


def test_chunked_bodies(server: Server) -> None:
    one_by_one = (bytes([byte]) for byte in b'{"text": "a"}')
    assert check(server, chunked("/vectorize", one_by_one)) == 200


@pytest.mark.parametrize("path", ["/vectorize", "/embed/images"])
def test_a_body_beyond_the_limit_gets_413_even_if_it_is_sent_to_the_end(server: Server, path: str) -> None:
    size = 65 * len(MEBIBYTE)
    content_type = "application/json" if path == "/vectorize" else "multipart/form-data; boundary=B"

    def announced() -> Iterator[bytes]:
        yield head(path, f"Content-Type: {content_type}", f"Content-Length: {size}")
        for _ in range(65):
            yield MEBIBYTE

    def form() -> Iterator[bytes]:
        yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(65):
            yield MEBIBYTE

    assert check(server, announced()) == 413
    chunks = [b'{"text": "', *[MEBIBYTE] * 65, b'"}'] if path == "/vectorize" else form()
    assert check(server, chunked(path, chunks, content_type)) == 413


def test_the_server_is_well_afterwards(server: Server) -> None:
    """Runs last in this module."""
    with server.client() as client:
        assert client.get("/health").json()["status"] == "healthy"
    assert server.process.poll() is None
    assert "Traceback" not in server.log
