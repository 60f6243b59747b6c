"""Errors: their statuses, and that they tell what to change and nothing else."""

import re

import httpx
import pytest

from app.api import text
from app.api.errors import STATUSES, status_of
from app.core import errors
from tests.api.conftest import Serve

JSON = {"content-type": "application/json"}


def test_every_error_that_a_request_can_meet_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.ManyvecError]
    assert {kind.__name__ for kind in kinds if status_of(kind("x")) == 500} == set()
    assert status_of(errors.ManyvecError("x")) == 500
    assert set(STATUSES.values()) == {400, 404, 413, 503}


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("nonsense", 400, "The fake model does not read nonsense."),
        ("memory", 503, "This does not fit into the device's memory."),
        ("explode", 500, "Something went wrong in the server; its log says more."),
    ],
)
async def test_what_a_model_raises(client: httpx.AsyncClient, text: str, status: int, message: str) -> None:
    answer = await client.post("/vectorize", json={"text": text})
    assert (answer.status_code, answer.json()) == (status, {"detail": message})
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_bug_is_raised_to_the_server_which_logs_it(serving: Serve) -> None:
    async with serving() as client:
        client._transport.raise_app_exceptions = True  # type: ignore[attr-defined]
        with pytest.raises(RuntimeError, match="secret"):
            await client.post("/vectorize", json={"text": "explode"})


async def test_one_bad_text_fails_its_own_request_only(client: httpx.AsyncClient) -> None:
    assert (await client.post("/vectorize-batch", json={"items": ["good", "explode"]})).status_code == 500
    assert (await client.post("/vectorize-batch", json={"items": ["good"]})).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/vectorize", {}, "text: Field required."),
        ("/vectorize", {"text": ["s3cret"]}, "text: Input should be a valid string."),
        ("/vectorize", ["s3cret"], "Send a JSON object."),
        ("/vectorize", "s3cret", "Send a JSON object."),
        ("/vectorize", None, "Send a JSON object."),
        ("/rerank", {"query": "a", "candidates": ["b", {"s3cret": 1}]}, "candidates[1]: Input should be a valid str"),
        # Of a list the first alone is told: a body has room for millions.
        ("/rerank", {"query": "a", "candidates": [1, 2]}, "candidates[0]: Input should be a valid string.|"),
        ("/embed/queries", {"queries": [1, 2]}, "queries[0]: Input should be a valid string.|"),
        ("/patches", {"dimensions": [1, 2]}, "dimensions[0]: Send an object with width and height.|"),
        ("/patches", {"dimensions": [["s3cret"]]}, "dimensions[0]: Send an object with width and height."),
        ("/patches", {"dimensions": {"width": 1, "height": 1}}, "dimensions: Input should be a valid list."),
        ("/embed/queries", {"queries": {"s3cret": "s3cret"}}, "queries: Input should be a valid list."),
        ("/vectorize-hybrid", {"text": "a", "sparse_keys": "s3cret"}, "sparse_keys: Input should be 'token' or 'id'."),
        ("/predict", {"image_data": ["a", 5]}, "image_data: Send an image in base64, or a list of them."),
    ],
)
async def test_a_wrong_shape_names_the_place_and_echoes_nothing(
    client: httpx.AsyncClient, path: str, body: object, detail: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 422
    assert f"{answer.json()['detail']}|".startswith(detail)
    assert answer.json().keys() == {"detail"}
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "json", "\xff"])
async def test_json_must_be_called_json(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post(
        "/vectorize", content=b'{"text": "a"}', headers={b"content-type": content_type.encode("latin-1")}
    )
    assert answer.status_code == 422
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON"]
)
async def test_json_may_be_called_json_in_several_ways(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/vectorize", content=b'{"text": "a"}', headers={"content-type": content_type})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'text': 'a'}",
        b'{"text": NaN}',
        b'{"text": "a", "x": Infinity}',
        b'{"text": "a", "x": 1e400}',
        b'{"text": "a", "x": -1e400}',
        b'{"text": "\\ud800"}',
        b'{"text": "\\udc00\\ud800"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\xff"}',
        b'{"text": "\x00"}',
        b'\xef\xbb\xbf{"text": "a"}',
        '{"text": "a"}'.encode("utf-16"),
        b'{"text": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 100_000,
        b'{"text": "a"} {"text": "b"}',
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_what_is_not_json_is_400_and_says_so(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/vectorize", content=body, headers=JSON)
    assert answer.status_code in ((422,) if body == b"" else (400,))
    assert "JSON" in answer.json()["detail"]
    assert len(answer.content) < 300


async def test_fields_that_are_not_known_and_nulls_are_ignored(client: httpx.AsyncClient) -> None:
    body = b'{"text": "a", "model": null, "user": {"deep": [[[]]]}, "big": 123456789012345678901234567890}'
    assert (await client.post("/vectorize", content=body, headers=JSON)).status_code == 200


async def test_other_paths_and_methods(client: httpx.AsyncClient) -> None:
    missing = await client.post("/no/such/path", json={})
    assert (missing.status_code, missing.json().keys()) == (404, {"detail"})
    wrong = await client.put("/vectorize", json={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json() == {"detail": "This path takes POST."}


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/", "GET, HEAD, POST"), ("/health", "GET, HEAD"), ("/info", "GET"), ("/models/a/load", "POST")],
)
async def test_a_wrong_method_is_told_all_that_the_path_takes(
    client: httpx.AsyncClient, path: str, methods: str
) -> None:
    answer = await client.delete(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert answer.json()["detail"] == f"This path takes {methods}."


@pytest.mark.parametrize(("method", "path"), [("POST", "/embed/queries/"), ("GET", "/health/"), ("GET", "/docs/")])
async def test_a_slash_at_the_end_makes_another_path(client: httpx.AsyncClient, method: str, path: str) -> None:
    """A redirect would lead to the host that the request names."""
    answer = await client.request(method, path, headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "evil.example" not in str(answer.headers)


@pytest.mark.parametrize("charset", ["unicode_escape", "raw_unicode_escape", "utf-7", "hex", "punycode", "no-such"])
async def test_odd_charsets_of_forms(client: httpx.AsyncClient, charset: str) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\n\\ud800 +2AA-\r\n'
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\\ud800\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    )
    answer = await client.post(
        "/query/single", content=body, headers={"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    )
    assert 400 <= answer.status_code < 500


async def test_no_message_shows_a_repr_an_address_or_a_path(client: httpx.AsyncClient) -> None:
    for path in ("/vectorize", "/rerank", "/patches", "/interpret", "/embed/images", "/predict", "/query/single"):
        for body in ({}, [], {"text": 1, "query": 1, "dimensions": 1, "image": 1, "file": 1, "files": 1}):
            for sent in ({"json": body}, {"data": body if isinstance(body, dict) else {}}):
                answer = await client.post(path, **sent)
                assert not re.search(r"<class|object at|0x|Traceback|/work|\.py", answer.text), answer.text


async def test_an_answer_that_does_not_fit_into_memory_may_be_tried_again(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(text, "dense", full)
    answer = await client.post("/vectorize", json={"text": "red"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "ask for less" in answer.json()["detail"]
