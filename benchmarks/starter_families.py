"""The models of the starter set, asked as their clients ask them, with requests of many sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson

from benchmarks.load import Address
from benchmarks.report import ROOT
from benchmarks.texts import ragged_texts
from tests.pictures import b64, png

N_SIZES = 64
SIDES = (32, 256)
"""Shortest and longest side of a picture in pixels."""
BOUNDARY = "a-picture-follows"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class StarterFamily:
    """A family's starter model and a route of it that takes one text or one picture."""

    name: str
    path: str
    bodies: Callable[[str], list[bytes]]
    """Requests of `N_SIZES` sizes for the model of that name."""
    content_type: str = "application/json"

    @property
    def model(self) -> str:
        return f"{self.name}-untrained"

    def address(self, port: int) -> Address:
        return Address(port, self.path, self.content_type)

    def requests(self) -> list[bytes]:
        return self.bodies(self.model)


def _texts(model: str) -> list[bytes]:
    texts = ragged_texts(N_SIZES, ROOT / "models/untrained" / model.removesuffix("-untrained"))
    return [orjson.dumps({"text": text.bare, "model": model}) for text in texts]


def _features(model: str) -> list[bytes]:
    return [orjson.dumps({"image_data": b64(picture), "model": model}) for picture in _pictures()]


def _form(_: str) -> list[bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="page"\r\n\r\n'
    return [head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode() for picture in _pictures()]


def _pictures() -> list[bytes]:
    return [png(width, height) for width, height in np.random.default_rng(0).integers(*SIDES, (N_SIZES, 2)).tolist()]


def _visual(name: str) -> StarterFamily:
    return StarterFamily(name, f"/embed/images?model={name}-untrained", _form, FORM)


FAMILIES = (
    StarterFamily("e5", "/vectorize", _texts),
    StarterFamily("bge-m3", "/vectorize-hybrid", _texts),
    _visual("colqwen2.5"),
    _visual("colqwen2"),
    _visual("colpali"),
    StarterFamily("dinov3", "/predict", _features),
)
