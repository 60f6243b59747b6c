"""The playground: a web page that speaks this server's own HTTP API."""

from os import PathLike, stat_result
from pathlib import Path

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

APP = Path(__file__).resolve().parent.parent
PAGE = APP / "playground"
EXAMPLES = APP.parent / "examples"

HEADERS = {
    # Nothing comes from another host, and nothing goes there.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asks each time whether there is a newer one, so that a new server never meets an old page.
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


class Files(StaticFiles):
    """Files with the headers of the page."""

    def file_response(
        self, full_path: PathLike[str] | str, stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


@router.head("/playground")
@router.get("/playground")
async def playground() -> Response:
    return FileResponse(PAGE / "index.html", headers=HEADERS)


@router.get("/playground/")
async def without_slash() -> Response:
    # Relative: behind a proxy the path may begin with something else.
    return RedirectResponse("../playground")


def install(app: FastAPI) -> None:
    """Serve the page, open to all: it holds nothing secret and sends the key that its user enters."""
    app.include_router(router)
    app.mount("/playground/examples", Files(directory=EXAMPLES, check_dir=False))
    app.mount("/playground", Files(directory=PAGE))
