import numpy as np
import pytest

from recipes.images import shapes, textures
from recipes.images.collages import collage
from recipes.images.scenes import EVALUATION, SIDE, TRAINING, draw, patch_labels
from recipes.images.shapes import Shape
from recipes.images.textures import Texture


def test_a_number_names_one_picture() -> None:
    first, again, other = (draw(7, number, EVALUATION) for number in (3, 3, 4))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert (first.pixels != other.pixels).mean() > 0.5


def test_a_seed_names_other_pictures() -> None:
    assert (draw(7, 3, TRAINING).pixels != draw(8, 3, TRAINING).pixels).mean() > 0.5


def test_without_objects_nothing_is_marked() -> None:
    assert not draw(7, 0, TRAINING, n_objects=(0, 0)).mask.any()


def test_objects_are_where_the_mask_says() -> None:
    """The same background with and without objects differs on the mask, and beside it only by shadows."""
    bare, full = (draw(7, 11, TRAINING, n_objects=count) for count in ((0, 0), (3, 3)))
    change = np.abs(full.pixels.astype(int) - bare.pixels.astype(int)).mean(axis=2)
    assert change[full.mask].mean() > 5 * change[~full.mask].mean()


def test_collages_are_pieces_before_a_background() -> None:
    """The same collage out of other pictures has its pieces in the same places."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    first, other = collage(7, 5, pictures[:2]), collage(7, 5, pictures[2:])
    bare = draw(7, 5, TRAINING, n_objects=(0, 0))
    assert 0 < first.mask.mean() < 1
    assert (first.pixels != other.pixels).any(axis=2)[first.mask].mean() > 0
    assert np.abs(first.pixels[~first.mask] - bare.pixels[~first.mask].astype(int)).mean() < 40


def test_patches_take_the_label_of_their_majority() -> None:
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    mask[2, 2:] = True
    np.testing.assert_array_equal(patch_labels(mask, 2), [[True, False], [False, False]])


@pytest.mark.parametrize("texture", textures.SEEN + textures.HELD_OUT)
def test_textures_stay_between_0_and_1_and_vary(texture: Texture) -> None:
    field = texture(np.random.default_rng(0), *textures.grid(SIDE))
    assert field.dtype == np.float32
    assert field.shape == (SIDE, SIDE)
    assert field.min() >= -1e-6
    assert field.max() <= 1 + 1e-6
    assert field.std() > 0.01


@pytest.mark.parametrize("shape", shapes.SEEN + shapes.HELD_OUT)
def test_shapes_have_an_inside_within_reach(shape: Shape) -> None:
    x, y = textures.grid(SIDE)
    distance = shape(np.random.default_rng(0), 4 * x - 2, 4 * y - 2)
    assert distance.dtype == np.float32
    assert 0.01 < (distance < 0).mean() < 0.5
    assert (distance[[0, -1]] > 0).all()


def test_evaluation_has_kinds_that_training_lacks() -> None:
    assert set(TRAINING.shapes) < set(EVALUATION.shapes)
    assert set(TRAINING.textures) < set(EVALUATION.textures)
