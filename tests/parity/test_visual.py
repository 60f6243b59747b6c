"""The three visual families through HTTP against colpali-engine's models and processors."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.parity import visual_layouts as layouts
from tests.parity.support import serve
from tests.parity.visual_pictures import page, png

pytestmark = pytest.mark.parity

SIZES = [(1024, 768), (512, 512), (300, 1200), (1600, 130), (60, 2), (3, 3), (1, 1)]
"""Width and height of the pages: common, square, tall, wide, and those that are smaller than a patch."""

QUERIES = [
    "What was the revenue of the third quarter?",
    "revenue",
    "  spaces   before, between and after  ",
    "Größe des Umsatzes 2024 – 日本語の表 🦊\nsecond line",
    "",
]

LAYOUTS = {"published": layouts.published, "adapter": layouts.adapter}
LABELS = [f"{family}-{layout}" for family in layouts.FAMILIES for layout in LAYOUTS]

SCORE_TOLERANCE = 1e-4
"""Of MaxSim, a sum over some twenty tokens."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A served model and what the reference library says of its checkpoint."""

    client: TestClient
    model: str
    images: list[bytes]
    answer: dict[str, np.ndarray]

    def reference(self, key: str) -> np.ndarray:
        return self.answer[f"{self.model}/{key}"]

    def references(self, kind: str) -> list[np.ndarray]:
        """The vectors [n_tokens, dim] of every image or query."""
        n = len(self.images) if kind == "image" else len(QUERIES)
        return [self.reference(f"{kind}.{i}.vectors") for i in range(n)]

    def embed_images(self) -> list[dict[str, Any]]:
        files = [("files", (f"{i}.png", image)) for i, image in enumerate(self.images)]
        response = self.client.post("/embed/images", params={"model": self.model}, files=files)
        return response.raise_for_status().json()["embeddings"]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def checkpoints(models_dir: Path) -> dict[str, tuple[str, str]]:
    """Label -> family, and the checkpoint's name under `models_dir`."""
    return {
        f"{family}-{layout}": (family, build(family, models_dir))
        for family in layouts.FAMILIES
        for layout, build in LAYOUTS.items()
    }


@pytest.fixture(scope="module")
def client(models_dir: Path, checkpoints: dict[str, tuple[str, str]], device: str) -> Iterator[TestClient]:
    models_file = models_dir / "models.toml"
    models_file.write_text(
        "\n".join(
            f'[[model]]\nname = "{label}"\nfamily = "{family}"\ncheckpoint = "{name}"'
            for label, (family, name) in checkpoints.items()
        )
    )
    with serve(models_dir, device, models_file) as client:
        yield client


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [png(page(width, height)) for width, height in SIZES]


@pytest.fixture(scope="module")
def answer(
    ask_oracle: Callable[..., dict[str, np.ndarray]],
    models_dir: Path,
    checkpoints: dict[str, tuple[str, str]],
    images: list[bytes],
    device: str,
) -> dict[str, np.ndarray]:
    """What the reference library says of all checkpoints, in one process: to start it takes the most time."""
    files = [models_dir / f"{i}.png" for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image)
    request = {"models_dir": str(models_dir), "checkpoints": checkpoints, "images": list(map(str, files))}
    return ask_oracle("visual.py", request | {"queries": QUERIES, "device": device})


@pytest.fixture(params=LABELS)
def pair(
    request: pytest.FixtureRequest, client: TestClient, images: list[bytes], answer: dict[str, np.ndarray]
) -> Pair:
    return Pair(client, request.param, images, answer)


def test_pages_are_the_references(pair: Pair, assert_agree: Callable[..., None]) -> None:
    """All sizes in one request, so that they are padded to one another; the reference computes each alone."""
    ours = [page_["embedding"] for page_ in pair.embed_images()]
    assert_rows_agree(assert_agree, f"{pair.model}, pages", ours, pair.references("image"))


def assert_rows_agree(check: Callable[..., None], label: str, ours: list[Any], reference: list[np.ndarray]) -> None:
    """Compare several [n_tokens, dim] of different lengths: as many rows each, and every row the same."""
    assert [len(rows) for rows in ours] == [len(rows) for rows in reference]
    check(label, np.concatenate(ours), np.concatenate(reference))


def test_patches_of_pages_lie_where_the_reference_has_them(pair: Pair) -> None:
    for i, page_ in enumerate(pair.embed_images()):
        assert page_["image_patch_indices"] == np.flatnonzero(pair.reference(f"image.{i}.mask")).tolist()
        assert page_["image_patch_start"] == page_["image_patch_indices"][0]
        assert page_["image_patch_len"] == len(page_["image_patch_indices"])
        assert [page_["n_patches_x"], page_["n_patches_y"]] == pair.reference(f"image.{i}.grid").tolist()


def test_patch_grids_are_the_references(pair: Pair) -> None:
    dimensions = [{"width": width, "height": height} for width, height in SIZES]
    response = pair.client.post("/patches", json={"dimensions": dimensions, "model": pair.model})
    results = response.raise_for_status().json()["results"]
    ours = [[result["n_patches_x"], result["n_patches_y"]] for result in results]
    assert ours == [pair.reference(f"image.{i}.grid").tolist() for i in range(len(SIZES))]


def test_queries_are_the_references(pair: Pair, assert_agree: Callable[..., None]) -> None:
    """Queries of all lengths in one request; the reference computes each alone, unpadded."""
    response = pair.client.post("/embed/queries", json={"queries": QUERIES, "model": pair.model})
    ours = response.raise_for_status().json()["embeddings"]
    assert_rows_agree(assert_agree, f"{pair.model}, queries", ours, pair.references("query"))


def test_scores_are_those_of_score_multi_vector(pair: Pair) -> None:
    images = [base64.b64encode(image).decode() for image in pair.images]
    response = pair.client.post("/predict", json={"image": images, "text": QUERIES, "model": pair.model})
    scores = np.array(response.raise_for_status().json()["scores"])
    np.testing.assert_allclose(scores, pair.reference("scores"), atol=SCORE_TOLERANCE)


@pytest.mark.parametrize("family", layouts.FAMILIES)
def test_an_adapter_changes_the_vectors(family: str, answer: dict[str, np.ndarray]) -> None:
    """Else the comparisons above would say nothing of adapters."""
    base, adapted = (answer[f"{family}-{layout}/image.0.vectors"] for layout in ("published", "adapter"))
    assert (base * adapted).sum(-1).mean() < 0.99
