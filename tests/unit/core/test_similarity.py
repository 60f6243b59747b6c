import numpy as np
import pytest

from app.core.similarity import Hotspot, hotspots, similarity_maps
from app.core.types import PatchGrid


def test_map_has_the_pages_layout() -> None:
    """The patch in column 2 of row 1 is the sixth of a grid that is four columns wide, and only it matches."""
    grid = PatchGrid(n_patches_x=4, n_patches_y=3)
    patches = np.zeros((12, 2), np.float32)
    patches[1 * 4 + 2] = [0.5, 0]
    query = np.array([[1, 0], [0, 1]], np.float32)
    maps = similarity_maps(query, patches, grid)
    assert maps.shape == (2, 3, 4)
    assert np.argwhere(maps).tolist() == [[0, 1, 2]]
    assert maps[0, 1, 2] == 0.5


def test_a_grid_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="6 patches do not fill a grid of 4 x 3"):
        similarity_maps(np.zeros((1, 2), np.float32), np.zeros((6, 2), np.float32), PatchGrid(4, 3))


def test_hotspots_are_the_highest_cells_first() -> None:
    similarity_map = np.array([[0.1, 0.9, 0.2], [0.8, -0.5, 0.3]], np.float32)
    found = hotspots(similarity_map, n=3)
    assert [(spot.x, spot.y) for spot in found] == [(1, 0), (0, 1), (2, 1)]
    assert [spot.score for spot in found] == pytest.approx([0.9, 0.8, 0.3])


def test_equal_scores_come_in_reading_order() -> None:
    assert hotspots(np.ones((2, 2), np.float32), n=3) == [Hotspot(0, 0, 1), Hotspot(1, 0, 1), Hotspot(0, 1, 1)]


def test_a_small_map_has_fewer_hotspots() -> None:
    assert hotspots(np.array([[0.25]], np.float32)) == [Hotspot(0, 0, 0.25)]


def test_hotspots_hold_plain_numbers() -> None:
    spot = hotspots(np.array([[0.25]], np.float32))[0]
    assert [type(value) for value in (spot.x, spot.y, spot.score)] == [int, int, float]
