"""The client of a server that does not answer as it should."""

import httpx2
import pytest

from app.evaluation.client import ServerClient
from app.evaluation.errors import EvaluationError

BUSY = httpx2.Response(503, headers={"Retry-After": "0"}, json={"detail": "Later."})


def client(*answers: httpx2.Response, busy_s: float = 60) -> ServerClient:
    """Of a server that gives these answers, one after the other."""
    left = iter(answers)
    transport = httpx2.MockTransport(lambda _: next(left))
    return ServerClient(httpx2.Client(transport=transport, base_url="http://server"), busy_s=busy_s)


def listed(state: str) -> httpx2.Response:
    model = {"id": "a", "family": "e5", "capabilities": ["text:dense"], "state": state}
    return httpx2.Response(200, json={"data": [model]})


def test_a_busy_server_is_asked_again() -> None:
    (found,) = client(BUSY, BUSY, listed("ready")).models()
    assert (found.name, found.family, found.capabilities, found.state) == ("a", "e5", {"text:dense"}, "ready")


def test_but_not_for_ever() -> None:
    with pytest.raises(EvaluationError, match=r"/v1/models answered 503: Later\."):
        client(BUSY, busy_s=0).models()


def test_it_waits_while_a_model_is_loaded() -> None:
    client(BUSY, listed("loading"), BUSY, listed("loading"), httpx2.Response(200), busy_s=0).load("a")


def test_it_does_not_wait_for_a_model_that_cannot_be_loaded() -> None:
    with pytest.raises(EvaluationError, match=r"/models/a/load answered 503: Later\."):
        client(BUSY, listed("loading"), BUSY, listed("failed")).load("a")


@pytest.mark.parametrize(
    "answer", [httpx2.Response(200, text="<html>"), httpx2.Response(200, json=[1]), httpx2.Response(404, text="?")]
)
def test_another_server(answer: httpx2.Response) -> None:
    with pytest.raises(EvaluationError, match="not one of a Manyvec server"):
        client(answer).models()


def test_no_server() -> None:
    with (
        ServerClient.connect("http://127.0.0.1:1") as nobody,
        pytest.raises(EvaluationError, match=r"No server answers at http://127\.0\.0\.1:1\. Start one with `make run`"),
    ):
        nobody.models()


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://127.0.0.1"])
def test_no_address(url: str) -> None:
    with pytest.raises(EvaluationError), ServerClient.connect(url) as nobody:
        nobody.models()


def test_the_key_travels_as_a_bearer_token() -> None:
    with ServerClient.connect("http://127.0.0.1:1", "secret") as keyed:
        assert keyed._http.headers["Authorization"] == "Bearer secret"
