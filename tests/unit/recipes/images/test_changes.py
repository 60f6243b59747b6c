import numpy as np
import pytest
from PIL import Image

from recipes.images.changes import CHANGES, color, crop, rotation, scale
from recipes.images.collection import COLLAGE_SEED, SEED
from recipes.images.evaluation_set import GALLERY_SEED, PROBE_SEED
from recipes.images.scenes import TRAINING, draw


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(draw(3, 1, TRAINING, n_objects=(3, 3)).pixels)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_follows_from_its_generator_and_changes(name: str, image: Image.Image) -> None:
    first, again = (CHANGES[name](np.random.default_rng(7), image) for _ in range(2))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != image.tobytes()


def test_crops_are_parts_of_the_picture(image: Image.Image) -> None:
    for number in range(50):
        part = crop(np.random.default_rng(number), image)
        assert 0.38 < part.width * part.height / (image.width * image.height) < 0.72
        assert 0.73 < part.width / part.height < 1.37
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(image), (part.height, part.width, 3))
    assert (windows[:, :, 0, ::20, ::20] == np.asarray(part)[::20, ::20]).all(axis=(2, 3, 4)).any()


def test_scaled_pictures_keep_their_shape(image: Image.Image) -> None:
    factors = [scale(np.random.default_rng(number), image).width / image.width for number in range(50)]
    assert min(factors) < 0.6
    assert max(factors) > 1.2
    assert not [factor for factor in factors if 0.76 < factor < 1.19]


def test_color_changes_leave_every_pixel_in_its_place() -> None:
    """One color stays one color."""
    picture = Image.new("RGB", (8, 8), (200, 80, 40))
    changed = np.asarray(color(np.random.default_rng(1), picture))
    assert (changed == changed[0, 0]).all()


def test_turned_pictures_keep_their_center(image: Image.Image) -> None:
    """Around the very center nothing moves far."""
    center = (slice(109, 115), slice(109, 115))
    smooth = Image.fromarray(np.asarray(image)).resize((14, 14), Image.Resampling.BOX).resize(image.size)
    turned = np.asarray(rotation(np.random.default_rng(2), smooth)).astype(int)
    assert np.abs(turned[center] - np.asarray(smooth).astype(int)[center]).mean() < 12
    assert (turned[0, 0] == 0).all()


def test_no_evaluation_picture_was_trained_on() -> None:
    assert not {SEED, COLLAGE_SEED} & {GALLERY_SEED, PROBE_SEED}
