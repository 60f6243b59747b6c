"""Small evaluation sets in the form of those in `app/evaluation/data/`, on disk."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.pictures import png

TEXTS: dict[str, Any] = {
    "documents": [{"id": f"{color}.1", "text": f"{color} {color}"} for color in ("red", "green", "blue")],
    "queries": [
        {"id": "1", "lang": "en", "text": "red", "relevant": ["red.1"]},
        {"id": "2", "lang": "en", "text": "blue", "relevant": ["blue.1"]},
        {"id": "3", "lang": "de", "text": "green", "relevant": ["red.1"]},
    ],
}
RED, BLUE = (96, 16, 128, 32), (32, 96, 64, 112)
PAGES = [
    png(160, 128, "black", {RED: "red"}),
    png(160, 128, "black", {BLUE: "blue"}),
    png(160, 128, "black", {RED: "green"}),
]
PAGE_QUERIES: dict[str, Any] = {
    "queries": [
        {"text": "red", "kind": "words", "relevant": [0], "words": [{"text": "red", "page": 0, "boxes": [RED]}]},
        {"text": "blue", "kind": "shapes", "relevant": [1], "words": [{"text": "blue", "page": 1, "boxes": [RED]}]},
        {"text": "green", "kind": "unseen", "relevant": [0], "words": []},
    ]
}


def write_sets(folder: Path) -> Path:
    """All three sets; returns the folder."""
    (folder / "man_pages.json.gz").write_bytes(gzip.compress(json.dumps(TEXTS).encode()))
    (folder / "pages").mkdir()
    (folder / "pages/pages.zip").write_bytes(archive(PAGES))
    (folder / "pages/queries.json").write_text(json.dumps(PAGE_QUERIES))
    (folder / "pictures").mkdir()
    _write_pictures(folder / "pictures")
    digits = np.zeros((12, 8, 8), dtype=np.uint8)
    digits[::2, :4] = 16
    labels = np.arange(12, dtype=np.uint8) % 2
    np.savez(folder / "digits.npz", images=digits, labels=labels, is_test=np.arange(12) >= 8)
    return folder


def _write_pictures(folder: Path) -> None:
    colors = ("red", "green", "blue")
    (folder / "gallery.zip").write_bytes(archive([png(64, 64, color) for color in colors]))
    (folder / "crop.zip").write_bytes(archive([png(48, 32, color) for color in colors]))
    # The first two have changed places.
    (folder / "color.zip").write_bytes(archive([png(64, 64, color) for color in ("green", "red", "blue")]))
    boxes = [(0, 0, 32, 32), (32, 0, 64, 32), (0, 32, 32, 64)] * 3
    (folder / "probe.zip").write_bytes(archive([png(64, 64, "green", {box: "red"}) for box in boxes]))
    objects = np.zeros((9, 4, 4), dtype=np.bool_)
    for scene, (left, top, right, bottom) in zip(objects, boxes, strict=True):
        scene[top // 16 : bottom // 16, left // 16 : right // 16] = True
    np.savez(folder / "probe.npz", objects=objects)


def archive(files: list[bytes]) -> bytes:
    """A ZIP whose members are named by their numbers, written in reverse order."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        for index, content in reversed(list(enumerate(files))):
            members.writestr(f"{index:03}.png", content)
    return file.getvalue()
