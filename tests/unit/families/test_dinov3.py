"""DINOv3 by itself: patch grids, orientation, which checkpoints it takes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.core.errors import BadInputError, ModelLoadError
from app.core.types import Embedding, ImageInput, ImageLimits, Output, PatchGrid
from app.families.base import Checkpoint, LoadOptions
from app.families.dinov3 import DinoV3Model
from app.families.dinov3_pixels import MAX_PIXELS, fitting_grid

CopyOf = Callable[[str], Path]
ALL = frozenset({Output.DENSE, Output.MULTI_VECTOR})
PATCH = 16


def load(folder: Path, dtype: str = "float32") -> DinoV3Model:
    return DinoV3Model.load(Checkpoint(folder), LoadOptions(dtype=dtype))


@pytest.fixture(scope="module")
def model(checkpoints: dict[str, Path]) -> DinoV3Model:
    return load(checkpoints["dinov3"])


def embed(model: DinoV3Model, image: Image.Image, image_size: int | None = None) -> Embedding:
    item = ImageInput(b"", outputs=ALL, image_size=image_size)
    return model.encode([model.prepare_image(item, image)])[0]


def test_info_is_read_from_the_checkpoint(model: DinoV3Model) -> None:
    assert (model.info.dim, model.info.patch_size) == (64, 16)
    largest = ImageInput(b"", image_size=2048)
    assert model.prepare_image(largest, Image.new("RGB", (8, 8))).n_tokens == model.info.max_tokens


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((256, 256), (16, 16)),
        ((1024, 768), (64, 48)),
        ((24, 23), (2, 1)),
        ((1, 1), (1, 1)),
        ((1, 40), (1, 3)),
        ((1024, 1024), (64, 64)),
        ((2048, 2048), (64, 64)),
        ((4000, 3000), (73, 55)),
        ((3000, 4000), (55, 73)),
        ((1_000_000, 40), (4096, 1)),
        ((40, 1_000_000), (1, 4096)),
        ((10**9, 10**9), (64, 64)),
    ],
)
def test_sides_go_to_the_nearest_multiple_and_large_images_are_scaled_down(
    model: DinoV3Model, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert model.patch_grid(*size) == PatchGrid(*grid)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_grid_is_never_empty_never_too_large_and_keeps_the_shape(width: int, height: int) -> None:
    grid = fitting_grid(width, height, PATCH)
    assert grid.n_patches_x >= 1
    assert grid.n_patches_y >= 1
    assert grid.n_patches * PATCH**2 <= MAX_PIXELS
    if min(grid.n_patches_x, grid.n_patches_y) > 16:
        assert grid.n_patches_x / grid.n_patches_y == pytest.approx(width / height, rel=0.07)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 5000))
def test_a_request_may_lower_the_limit(width: int, height: int, n_patches: int) -> None:
    whole = fitting_grid(width, height, PATCH)
    for limits in (ImageLimits(max_visual_tokens=n_patches), ImageLimits(max_pixels=n_patches * PATCH**2)):
        grid = fitting_grid(width, height, PATCH, limits)
        assert 1 <= grid.n_patches <= n_patches
        assert grid == whole or whole.n_patches > n_patches


def test_less_than_one_patch_is_refused() -> None:
    with pytest.raises(BadInputError, match="at least 256 pixels"):
        fitting_grid(100, 100, PATCH, ImageLimits(max_pixels=255))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_an_image_without_pixels_has_no_grid(model: DinoV3Model, size: tuple[int, int]) -> None:
    with pytest.raises(BadInputError):
        model.patch_grid(*size)


@pytest.mark.parametrize(("image_size", "side"), [(224, 14), (1, 1), (230, 14), (232, 15), (2048, 128)])
def test_a_fixed_square_is_taken_to_the_nearest_multiple(model: DinoV3Model, image_size: int, side: int) -> None:
    prepared = model.prepare_image(ImageInput(b"", image_size=image_size), Image.new("RGB", (50, 30)))
    assert prepared.inputs["grid"] == PatchGrid(side, side)
    assert prepared.inputs["pixel_values"].shape == (3, side * PATCH, side * PATCH)


@pytest.mark.parametrize("image_size", [0, -224, 2049])
def test_other_squares_are_refused(model: DinoV3Model, image_size: int) -> None:
    with pytest.raises(BadInputError, match="from 1 to 2048"):
        model.prepare_image(ImageInput(b"", image_size=image_size), Image.new("RGB", (50, 30)))


def test_images_of_one_size_share_a_batch(model: DinoV3Model) -> None:
    keys = [
        model.prepare_image(ImageInput(b""), Image.new("RGB", size)).batch_key
        for size in [(64, 48), (60, 50), (48, 64)]
    ]
    assert keys[0] == keys[1] != keys[2]


def test_patches_are_row_major(model: DinoV3Model) -> None:
    """A bright patch changes its own row most."""
    plain = Image.new("RGB", (8 * PATCH, 5 * PATCH), "gray")
    before = embed(model, plain).multi_vector
    for column, row in [(6, 1), (2, 4), (0, 3)]:
        image = plain.copy()
        image.paste("yellow", (column * PATCH, row * PATCH, (column + 1) * PATCH, (row + 1) * PATCH))
        after = embed(model, image).multi_vector
        change = np.linalg.norm(after.content - before.content, axis=-1)
        assert np.unravel_index(change.argmax(), (5, 8)) == (row, column)


def test_there_are_no_rows_but_the_patches(model: DinoV3Model) -> None:
    embedding = embed(model, Image.new("RGB", (64, 48)))
    assert embedding.multi_vector.vectors.shape == (12, 64)
    assert embedding.multi_vector.content.shape == (12, 64)
    assert embedding.n_tokens == 12 + 1 + 4


def test_only_what_was_asked_for_comes_out(model: DinoV3Model) -> None:
    image = Image.new("RGB", (32, 32))
    items = [ImageInput(b"", outputs=frozenset({output})) for output in (Output.DENSE, Output.MULTI_VECTOR)]
    dense, patches = model.encode([model.prepare_image(item, image) for item in items])
    assert dense.dense is not None
    assert dense.multi_vector is None
    assert patches.dense is None
    assert patches.multi_vector is not None


def test_convnext_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("dinov3")
    (folder / "config.json").write_text('{"model_type": "dinov3_convnext"}')
    with pytest.raises(ModelLoadError, match="ConvNeXt"):
        load(folder)


def test_another_architecture_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("dinov3")
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ModelLoadError, match="dinov3_vit"):
        load(folder)


@pytest.mark.parametrize(
    "change", [{"resample": 1}, {"image_mean": ...}, {"rescale_factor": ...}], ids=["lanczos", "no mean", "no factor"]
)
def test_unclear_preprocessing_is_refused(copy_of: CopyOf, change: dict[str, object]) -> None:
    folder = copy_of("dinov3")
    file = folder / "preprocessor_config.json"
    config = json.loads(file.read_text()) | change
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    with pytest.raises(ModelLoadError, match=r"preprocessor_config.json"):
        load(folder)


def test_a_missing_preprocessing_is_refused(copy_of: CopyOf) -> None:
    folder = copy_of("dinov3")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"preprocessor_config.json is missing"):
        load(folder)


def test_half_precision_gives_nearly_the_same(checkpoints: dict[str, Path], model: DinoV3Model) -> None:
    image = Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 50).convert("RGB")
    exact, half = embed(model, image).dense, embed(load(checkpoints["dinov3"], "bfloat16"), image).dense
    assert exact @ half / np.linalg.norm(exact) / np.linalg.norm(half) > 0.999
