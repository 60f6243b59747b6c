"""Handlers stop when their client leaves, and only then."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.disconnect import CancelOnDisconnect

HTTP: Scope = {"type": "http"}


class Client:
    """Sends a body, and disconnects when told to."""

    def __init__(self, *body: bytes) -> None:
        self._messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in body]
        self._messages[-1]["more_body"] = False
        self.left = asyncio.Event()
        self.received: list[Message] = []

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.received.append(message)


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body + b"<gone>"
        body += message["body"]
        if not message["more_body"]:
            return body


async def test_the_handler_is_cancelled_when_the_client_leaves() -> None:
    client, working = Client(b"x"), asyncio.Event()
    outcome: list[str] = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    request = asyncio.create_task(CancelOnDisconnect(handler)(HTTP, client.receive, client.send))
    await working.wait()
    client.left.set()
    await request
    assert outcome == ["cancelled"]
    assert client.received == []


async def test_a_body_in_pieces_arrives_whole_and_the_answer_goes_out() -> None:
    client = Client(b"one ", b"two ", b"three")

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": await read_body(receive)})

    await CancelOnDisconnect(handler)(HTTP, client.receive, client.send)
    assert client.received[0]["body"] == b"one two three"


async def test_a_handler_that_listens_itself_hears_the_disconnect() -> None:
    client = Client(b"x")

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        client.left.set()
        message = await receive()
        await send({"type": message["type"]})

    await asyncio.wait_for(CancelOnDisconnect(handler)(HTTP, client.receive, client.send), timeout=10)
    assert client.received in ([{"type": "http.disconnect"}], [])


async def test_the_handlers_error_comes_through() -> None:
    client = Client(b"x")

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        await CancelOnDisconnect(handler)(HTTP, client.receive, client.send)


async def test_when_the_server_cancels_the_request_so_is_the_handler() -> None:
    client, working, cancelled = Client(b"x"), asyncio.Event(), asyncio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    request = asyncio.create_task(CancelOnDisconnect(handler)(HTTP, client.receive, client.send))
    await working.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert cancelled.is_set()


async def test_a_client_that_leaves_within_its_body_gets_no_answer() -> None:
    client = Client(b"half of it")
    client._messages[-1]["more_body"] = True
    client.left.set()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": 400})

    await asyncio.wait_for(CancelOnDisconnect(handler)(HTTP, client.receive, client.send), timeout=10)
    assert client.received == []
