import colorsys
import math

import numpy as np
import pytest
import torch

from recipes.images.views import (
    Change,
    as_values,
    carried,
    color_matrix,
    hue_turned,
    normalized,
    patch_centers,
    random_placement,
    random_views,
    recolored,
    sampled,
)

CHANGE = Change(least_area=0.25, turned=0.5, recolored=0.8)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def ramp(n: int, side: int) -> torch.Tensor:
    """[n, 3, side, side]: red is x, green is y of the pixel's center, blue is 0."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    picture = torch.stack([line.expand(side, side), line[:, None].expand(side, side), torch.zeros(side, side)])
    return picture.expand(n, 3, side, side)


def test_a_view_shows_the_points_that_its_placement_names() -> None:
    placement = random_placement([CHANGE] * 16)
    views = sampled(ramp(16, 64), placement, 24, 32)
    shown = views.flatten(2).transpose(1, 2)
    named = patch_centers(24, 32) @ placement[:, :, :2].transpose(1, 2) + placement[:, None, :, 2]
    within = named.abs().amax(dim=-1) < 0.95
    torch.testing.assert_close(shown[..., :2][within], named[within], atol=1e-3, rtol=0)


def test_a_point_is_carried_from_view_to_view_over_the_picture() -> None:
    source, target = random_placement([CHANGE] * 16), random_placement([CHANGE] * 16)
    points = patch_centers(6, 4)
    places = carried(points, source, target)
    over_source = points @ source[:, :, :2].transpose(1, 2) + source[:, None, :, 2]
    over_target = places @ target[:, :, :2].transpose(1, 2) + target[:, None, :, 2]
    torch.testing.assert_close(over_target, over_source, atol=1e-4, rtol=1e-4)


def test_a_view_is_carried_onto_itself() -> None:
    placement, points = random_placement([CHANGE] * 8), patch_centers(7, 7)
    torch.testing.assert_close(carried(points, placement, placement), points.expand(8, -1, -1), atol=1e-4, rtol=0)


def test_unturned_views_lie_within_the_picture() -> None:
    placement = random_placement([CHANGE] * 500)
    corners = torch.tensor([[-1.0, -1], [1, 1]])
    reach = (corners @ placement[:, :, :2].transpose(1, 2) + placement[:, None, :, 2]).abs().amax(dim=(1, 2))
    unturned = placement[:, 0, 1] == 0
    assert 0.4 < unturned.float().mean() < 0.6
    assert reach[unturned].max() <= 1 + 1e-5


def test_patch_centers_go_row_by_row() -> None:
    expected = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    np.testing.assert_allclose(patch_centers(2, 2), expected)


def test_a_third_of_the_hue_circle_exchanges_the_channels() -> None:
    turned = color_matrix(torch.tensor([2 * math.pi / 3]), torch.ones(1))[0] @ torch.tensor([0.9, 0.2, 0.1])
    torch.testing.assert_close(turned, torch.tensor([0.1, 0.9, 0.2]))


def test_hue_turns_as_in_hsv() -> None:
    values = torch.rand(4, 3, 5, 5)
    turned = hue_turned(values, torch.tensor([0.0, 1.0, 0.25, -0.3]))
    torch.testing.assert_close(turned[:2], values[:2])
    for number, turn in ((2, 0.25), (3, -0.3)):
        for row, column in ((0, 0), (2, 3)):
            hue, saturation, value = colorsys.rgb_to_hsv(*values[number, :, row, column].tolist())
            expected = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
            torch.testing.assert_close(turned[number, :, row, column], expected)


def test_changes_are_dealt_in_turn_and_pieces_follow_their_picture() -> None:
    """Where a picture is white its mask is 1, in any view of it; the last pictures have masks."""
    still, strong = Change(least_area=1.0, turned=0.0, recolored=0.0), Change(0.25, 1.0, 0.0)
    masks = (torch.rand(4, 8, 8) > 0.5).float().repeat_interleave(8, 1).repeat_interleave(8, 2)
    pictures = torch.cat([torch.rand(2, 3, 64, 64), masks[:, None].expand(-1, 3, -1, -1)])
    views = random_views(pictures, 32, 32, [still, strong], masks)
    assert (views.placement[:, 0, 1] == 0).tolist() == [True, False] * 3
    shown = views.pixels[2:, 0]
    low, high = normalized(torch.zeros(1, 3, 1, 1))[0, 0, 0, 0], normalized(torch.ones(1, 3, 1, 1))[0, 0, 0, 0]
    torch.testing.assert_close((shown - low) / (high - low), views.pasted, atol=1e-4, rtol=0)


def test_no_saturation_is_grey() -> None:
    grey = color_matrix(torch.tensor([1.0]), torch.zeros(1))[0] @ torch.tensor([0.9, 0.2, 0.1])
    torch.testing.assert_close(grey, torch.full((3,), 0.4))


def test_recolored_pictures_stay_in_range() -> None:
    values = recolored(torch.rand(32, 3, 8, 8), torch.ones(32))
    assert values.min() >= 0
    assert values.max() <= 1


def test_views_follow_from_the_seed() -> None:
    pictures = as_values(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8), halved=True)
    assert pictures.shape == (4, 3, 16, 16)
    both = []
    for _ in range(2):
        torch.manual_seed(5)
        both.append(random_views(pictures, 32, 48, [CHANGE]))
    assert both[0].pixels.shape == (4, 3, 32, 48)
    torch.testing.assert_close(both[0].pixels, both[1].pixels, atol=0, rtol=0)
    torch.testing.assert_close(both[0].placement, both[1].placement, atol=0, rtol=0)


def test_a_share_of_the_pictures_keeps_its_colors() -> None:
    values = torch.rand(400, 3, 4, 4)
    kept = (recolored(values, torch.full((400,), 0.25)) - values).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 0.65 < kept.float().mean() < 0.85
