"""The DINOv3 starter as the recipe writes it: the same vectors by the server's own class and by transformers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, DINOv3ViTModel

from app.core.types import Embedding, ImageInput, Output
from app.families.base import Checkpoint, LoadOptions
from app.families.dinov3 import DinoV3Model
from app.families.dinov3_pixels import Preprocessing
from recipes import STARTER
from recipes.images.dinov3 import NAME, export, untrained
from recipes.images.scenes import EVALUATION, draw
from tests.parity.support import MIN_COSINE, cosines

pytestmark = pytest.mark.parity

SIZES = ((224, 224), (160, 96))
"""Width and height: whole patches."""


@pytest.fixture(scope="module", params=["committed", "written anew"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if request.param == "committed":
        yield STARTER / NAME
    else:
        anew = tmp_path_factory.mktemp("starter")
        export(untrained(), anew)
        yield anew


def ours(folder: Path, image: Image.Image) -> Embedding:
    model = DinoV3Model.load(Checkpoint(folder), LoadOptions(dtype="float32"))
    item = ImageInput(b"", outputs=frozenset({Output.DENSE, Output.MULTI_VECTOR}))
    return model.encode([model.prepare_image(item, image)])[0]


@pytest.mark.parametrize("size", SIZES)
def test_vectors_are_those_of_transformers(folder: Path, size: tuple[int, int]) -> None:
    image = Image.fromarray(draw(5, 0, EVALUATION).pixels).resize(size)
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = Preprocessing.read(Checkpoint(folder)).pixel_values(image, *size)
    with torch.inference_mode():
        tokens = reference(pixel_values=pixels[None]).last_hidden_state[0].numpy()
    found = ours(folder, image)
    assert isinstance(reference, DINOv3ViTModel)
    assert found.dense is not None
    assert found.multi_vector is not None
    assert cosines(found.dense, tokens[0]) >= MIN_COSINE
    patches = found.multi_vector.vectors
    assert len(patches) == size[0] * size[1] // 16**2
    assert cosines(patches, tokens[-len(patches) :]).min() >= MIN_COSINE


def test_weights_are_in_half_precision(folder: Path) -> None:
    assert DINOv3ViTModel.from_pretrained(folder, dtype="auto").dtype == torch.float16


def test_the_starter_is_small_and_complete() -> None:
    files = {path.name: path.stat().st_size for path in (STARTER / NAME).iterdir()}
    assert {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"} <= set(files)
    assert sum(files.values()) <= 14e6


def test_the_starter_knows_a_picture_again() -> None:
    """Three pictures made dark and half as large are nearest to themselves."""
    images = [Image.fromarray(draw(5, number, EVALUATION, n_objects=(3, 5)).pixels) for number in range(3)]
    changed = [image.resize((112, 112)).point(lambda level: level * 0.7) for image in images]
    rows, queries = (np.array([ours(STARTER / NAME, image).dense for image in both]) for both in (images, changed))
    np.testing.assert_array_equal(cosines(queries[:, None], rows[None]).argmax(axis=1), range(3))
