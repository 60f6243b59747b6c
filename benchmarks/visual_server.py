"""Our server with a clock around its models: `GET /busy` says how many seconds they have computed so far.

Started by `benchmarks.visual` as `python -m benchmarks.visual_server`; the settings come from the environment.
"""

import base64
import http.client
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import uvicorn

from app.core.types import Embedding
from app.families.base import Prepared
from app.families.torch_model import TorchModel
from app.main import create_app
from app.settings import Settings
from benchmarks.checkpoints import CACHE
from benchmarks.load import Address, drive
from benchmarks.report import ROOT
from benchmarks.servers import Ours

BOUNDARY = "a-page-follows"


class PageServer(Ours):
    """One visual checkpoint, served with the defaults by the environment without torchvision."""

    def __init__(self, checkpoint: Path, family: str) -> None:
        super().__init__(checkpoint)
        self.family = family

    def command(self) -> Sequence[str | Path]:
        return [ROOT / ".venv/bin/python", "-m", "benchmarks.visual_server"]

    def environment(self) -> dict[str, str]:
        models = CACHE / f"{self.checkpoint.name}-pages.toml"
        models.write_text(
            f'[[model]]\nname = "pages"\nfamily = "{self.family}"\ntrained = false\ndevice = "cpu"\n'
            f'checkpoint = "{self.checkpoint.relative_to(CACHE).as_posix()}"\n'
        )
        return {"PORT": str(self.port), "MODELS_FILE": str(models), "MODELS_DIR": str(CACHE), "PRELOAD": "all"}

    def embed_pages(self, files: Sequence[bytes], connections: int) -> tuple[float, float]:
        """Seconds until all pages are answered, one a request, and how many of these the model computed."""
        if self.family == "dinov3":
            address, bodies = Address(self.port, "/predict"), [_json(file) for file in files]
        else:
            address = Address(self.port, "/embed/images", f"multipart/form-data; boundary={BOUNDARY}")
            bodies = [_form(file) for file in files]
        before = self._busy_s()
        seconds, _ = drive(address, bodies, connections)
        return seconds, self._busy_s() - before

    def _busy_s(self) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/busy")
        busy_s: float = orjson.loads(connection.getresponse().read())
        connection.close()
        return busy_s


class BusyClock:
    """Seconds within `encode` of all models. Each model has one thread, and the benchmark one model."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def install(self) -> None:
        """Put the clock around every model's `encode`."""
        encode = TorchModel.encode

        def timed(model: TorchModel, batch: Sequence[Prepared]) -> list[Embedding]:
            started = time.perf_counter()
            try:
                return encode(model, batch)
            finally:
                self.seconds += time.perf_counter() - started

        TorchModel.encode = timed  # type: ignore[method-assign]


def _form(file: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="page"\r\n\r\n'
    return head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()


def _json(file: bytes) -> bytes:
    types = ["cls_token", "patch_features"]
    return orjson.dumps({"image_data": [base64.b64encode(file).decode()], "embedding_types": types})


def main() -> None:
    settings = Settings()
    clock = BusyClock()
    clock.install()
    app = create_app(settings)
    app.add_api_route("/busy", lambda: clock.seconds)
    uvicorn.run(app, host=settings.host, port=settings.port, http="h11", log_level="warning")


if __name__ == "__main__":
    main()
