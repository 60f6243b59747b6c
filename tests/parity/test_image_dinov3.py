"""DINOv3 through HTTP against transformers' model and image processor on the same checkpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.families.base import Checkpoint
from app.families.dinov3_pixels import Preprocessing
from app.starter.image import build_dinov3
from tests.parity.support import MIN_COSINE, cosines, serve
from tests.pictures import b64

pytestmark = pytest.mark.parity

PATCH = 16
N_REGISTER_TOKENS = 4

# (width, height) of the image -> (width, height) that it is resized to
SIZES = {
    (256, 256): (256, 256),
    (64, 48): (64, 48),
    (300, 200): (304, 208),
    (199, 301): (192, 304),
    (3, 5): (16, 16),
    (1, 90): (16, 96),
    (1500, 20): (1504, 16),
    (1500, 900): (1312, 784),
}
SQUARE = 224
"""Side that the processor asks for by itself, as old clients do by `image_size`."""


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoint = folder / "untrained/dinov3"
    checkpoint.mkdir(parents=True)
    build_dinov3(checkpoint)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures with coarse and fine structure, one a size."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    paths = [folder / f"{width}x{height}.png" for width, height in SIZES]
    for path, (width, height) in zip(paths, SIZES, strict=True):
        coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8)).resize((width, height))
        grain = random.integers(-20, 21, (height, width, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def client(models_dir: Path, device: str) -> Iterator[TestClient]:
    with serve(models_dir, device) as client:
        yield client


@pytest.fixture(scope="module")
def reference(models_dir: Path, files: list[Path], device: str, ask_oracle: Any) -> dict[str, np.ndarray]:
    """Of each file at its own size, then of each at the square."""
    sizes = [(height, width) for width, height in SIZES.values()] + [(SQUARE, SQUARE)] * len(files)
    request = {"path": str(models_dir / "untrained/dinov3"), "images": [str(f) for f in files * 2], "sizes": sizes}
    return ask_oracle("dinov3.py", {**request, "device": device})


def predict(client: TestClient, files: list[Path], **fields: Any) -> list[dict[str, Any]]:
    images = [b64(file.read_bytes()) for file in files]
    types = ["cls_token", "patch_features"]
    response = client.post("/predict", json={"image_data": images, "embedding_types": types, **fields})
    response.raise_for_status()
    return response.json()


def test_pixels_are_those_of_the_processor(
    models_dir: Path, files: list[Path], reference: dict[str, np.ndarray]
) -> None:
    preprocessing = Preprocessing.read(Checkpoint(models_dir / "untrained/dinov3"))
    for i, expected in enumerate(reference[f"pixels.{i}"] for i in range(2 * len(files))):
        _, height, width = expected.shape
        pixels = preprocessing.pixel_values(Image.open(files[i % len(files)]), width, height)
        np.testing.assert_allclose(pixels, expected, atol=1e-5)


@pytest.mark.parametrize("image_size", [None, SQUARE])
def test_features_are_those_of_transformers(
    client: TestClient, files: list[Path], reference: dict[str, np.ndarray], assert_agree: Any, image_size: int | None
) -> None:
    first = 0 if image_size is None else len(files)
    expected = range(first, first + len(files))
    features = predict(client, files, image_size=image_size)
    size = "own sizes" if image_size is None else f"{image_size} x {image_size}"
    assert_agree(
        f"DINOv3 CLS, {size} / transformers",
        [feature["cls_token"] for feature in features],
        [reference[f"cls.{i}"] for i in expected],
    )
    assert_agree(
        f"DINOv3 patches, {size} / transformers",
        np.concatenate([feature["patch_features"] for feature in features]),
        np.concatenate([reference[f"tokens.{i}"][1 + N_REGISTER_TOKENS :] for i in expected]),
    )


def test_there_is_one_row_a_patch(client: TestClient, files: list[Path]) -> None:
    for feature, (width, height) in zip(predict(client, files), SIZES.values(), strict=True):
        assert len(feature["patch_features"]) == (width // PATCH) * (height // PATCH)


def test_features_do_not_depend_on_their_company(client: TestClient, files: list[Path]) -> None:
    """Sixteen images, each size twice: equal sizes are computed together."""
    alone = [feature for file in files for feature in predict(client, [file])]
    together = predict(client, files * 2)
    reversed_order = predict(client, files[::-1])[::-1]
    for others in (together[: len(files)], together[len(files) :], reversed_order):
        for one, other in zip(alone, others, strict=True):
            assert cosines(np.array(one["cls_token"]), np.array(other["cls_token"])) >= MIN_COSINE
            assert cosines(np.array(one["patch_features"]), np.array(other["patch_features"])).min() >= MIN_COSINE


def test_unlike_images_have_unlike_features(client: TestClient, files: list[Path]) -> None:
    """Else the comparisons above would pass with anything."""
    vectors = np.array([feature["cls_token"] for feature in predict(client, files, image_size=SQUARE)])
    similarities = cosines(vectors[:, None], vectors[None, :])
    assert similarities[~np.eye(len(files), dtype=bool)].max() < 0.99
