"""Stop working for clients that have gone."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CancelOnDisconnect:
    """ASGI middleware: cancels the handler when the client closes the connection before the answer is out.

    Without it a handler runs to its end whether or not anybody listens, and its inputs cost compute.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        listener = _Listener(receive)
        handler = asyncio.ensure_future(self._app(scope, listener.receive, send))
        gone = asyncio.ensure_future(listener.gone.wait())
        try:
            await asyncio.wait({handler, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Reached also when the server itself cancels us.
            gone.cancel()
            listener.close()
            if not handler.done():
                handler.cancel()
        try:
            await handler
        except asyncio.CancelledError:
            if not listener.gone.is_set():
                raise


class _Listener:
    """Hands the request's messages on and, once the body is read, listens for the disconnect."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        if self._watch is not None:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone.set()
            # Until it is cancelled: an answer to a request that broke off would be counted as one.
            await asyncio.get_running_loop().create_future()
        elif not message.get("more_body", False):
            self._watch = asyncio.create_task(self._wait_for_disconnect())
        return message

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
