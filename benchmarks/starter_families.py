"""The models of `starter.toml`, asked as their clients ask them, with requests of many sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson

from app.engine.config import read_models_file
from benchmarks.load import Address
from benchmarks.report import ROOT
from benchmarks.texts import ragged_texts
from tests.pictures import b64, png

N_SIZES = 64
SIDES = (32, 256)
"""Shortest and longest side of a picture in pixels."""
BOUNDARY = "a-picture-follows"
MODELS = {model.family: model for model in read_models_file(ROOT / "starter.toml")}
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class StarterFamily:
    """A family and a route of it that takes one text or one picture."""

    name: str
    path: str
    bodies: Callable[[str], list[bytes]]
    """Requests of `N_SIZES` sizes for the model of that family."""
    content_type: str = "application/json"
    slowness: int = 1
    """How many times fewer requests it gets where there are thousands."""

    def address(self, port: int) -> Address:
        return Address(port, self.path, self.content_type)

    def requests(self) -> list[bytes]:
        return self.bodies(self.name)


def _texts(family: str) -> list[bytes]:
    model = MODELS[family]
    texts = ragged_texts(N_SIZES, ROOT / "models" / model.checkpoint)
    return [orjson.dumps({"text": text.bare, "model": model.name}) for text in texts]


def _features(family: str) -> list[bytes]:
    model = MODELS[family].name
    return [orjson.dumps({"image_data": b64(picture), "model": model}) for picture in _pictures()]


def _form(_: str) -> list[bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="page"\r\n\r\n'
    return [head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode() for picture in _pictures()]


def _pictures() -> list[bytes]:
    return [png(width, height) for width, height in np.random.default_rng(0).integers(*SIDES, (N_SIZES, 2)).tolist()]


def _visual(name: str, slowness: int = 1) -> StarterFamily:
    return StarterFamily(name, f"/embed/images?model={MODELS[name].name}", _form, FORM, slowness)


FAMILIES = (
    StarterFamily("e5", "/vectorize", _texts),
    StarterFamily("bge-m3", "/vectorize-hybrid", _texts),
    _visual("colqwen2.5"),
    _visual("colqwen2"),
    # It reads every picture at 784 x 784 pixels.
    _visual("colpali", slowness=20),
    StarterFamily("dinov3", "/predict", _features),
)
