"""A model hub on this machine: the few routes that the hub library's `snapshot_download` asks for."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """Serves the folders of `repos` (name -> folder); change its fields between requests."""

    url: str
    repos: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    status: HTTPStatus | None = None
    """Answers every request with it."""
    token: str = "hf_open_sesame"  # noqa: S105 - opens nothing but this server
    """Opens gated repositories."""
    downloaded: list[str] = field(default_factory=list)
    seen_tokens: set[str] = field(default_factory=set)


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Run one in a thread while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = server.hub = HubServer(f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        hub.seen_tokens.add(self.headers.get("Authorization", ""))
        path = self.path.partition("?")[0]
        is_api = path.startswith("/api/models/")
        repo, rest = _split(path.removeprefix("/api/models" if is_api else ""))
        if hub.status is not None:
            self._answer(hub.status)
        elif repo not in hub.repos:
            self._answer(HTTPStatus.UNAUTHORIZED, error="RepoNotFound")
        elif rest.startswith("revision/") and rest != "revision/main":
            self._answer(HTTPStatus.NOT_FOUND, error="RevisionNotFound")
        elif is_api:
            folder = hub.repos[repo]
            listing = [{"type": "file", "path": p, "size": 1, "oid": p} for p in sorted(_files(folder))]
            self._answer_json(listing if rest.startswith("tree/") else {"id": repo, "sha": COMMIT, "siblings": []})
        elif repo in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._answer(HTTPStatus.FORBIDDEN, error="GatedRepo")
        else:
            name = rest.removeprefix(f"resolve/{COMMIT}/")
            if self.command == "GET":
                hub.downloaded.append(name)
            self._answer(HTTPStatus.OK, (hub.repos[repo] / name).read_bytes())

    def _answer_json(self, content: object) -> None:
        self._answer(HTTPStatus.OK, json.dumps(content).encode(), kind="application/json")

    def _answer(
        self, status: HTTPStatus, body: bytes = b"", kind: str = "application/octet-stream", error: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error is not None:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _split(path: str) -> tuple[str, str]:
    """`/org/name/rest` -> `org/name`, `rest`."""
    org, name, *rest = path.strip("/").split("/", 2)
    return f"{org}/{name}", "".join(rest)


def _files(folder: Path) -> Iterator[str]:
    return (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
