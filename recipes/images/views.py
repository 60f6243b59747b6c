"""Random views of pictures with known geometry: crops, turned, scaled and recolored.

Points are (x, y) in -1 to 1, as torch's `affine_grid` has them: -1 is the left or upper edge, not a pixel's center.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of red, green and blue from 0 to 1: as `preprocessor_config.json` says."""


@dataclass(frozen=True, slots=True)
class Views:
    pixels: Tensor
    """[n, 3, height, width], normalized"""
    placement: Tensor
    """[n, 2, 3], the affine map from a point of the view to its point of the picture"""
    pasted: Tensor
    """[m, height, width], of the last m pictures: how much of the pixel is a pasted piece, 0 to 1"""


@dataclass(frozen=True, slots=True)
class Change:
    """How far views may go from their pictures."""

    least_area: float
    """Share of the picture that a view shows at least."""
    turned: float
    """Share of the views that are turned, to any side."""
    recolored: float
    """Share of the views whose colors are changed."""


def random_views(
    pictures: Tensor, height: int, width: int, changes: Sequence[Change], pasted: Tensor | None = None
) -> Views:
    """One view of each picture [n, 3, side, side] (0 to 1), drawn by torch's global generator.

    The changes are dealt to the pictures in turn. `pasted` [m, side, side] belongs to the last m pictures.
    """
    n = len(pictures)
    dealt = [changes[number % len(changes)] for number in range(n)]
    placement = random_placement(dealt, height / width)
    values = recolored(
        sampled(pictures, placement, height, width), torch.tensor([change.recolored for change in dealt])
    )
    covered = pictures.new_zeros(0, height, width)
    if pasted is not None and len(pasted):
        covered = sampled(pasted[:, None], placement[n - len(pasted) :], height, width)[:, 0]
    return Views(normalized(values), placement, covered)


def as_values(pictures: Tensor, *, halved: bool) -> Tensor:
    """[n, side, side, channels] uint8 -> [n, channels, side, side] from 0 to 1; `halved` for views of about half the
    side, which would sample every second pixel."""
    values = pictures.permute(0, 3, 1, 2).float() / 255
    return avg_pool2d(values, 2) if halved else values


def random_placement(changes: Sequence[Change], aspect: float = 1.0) -> Tensor:
    """[n, 2, 3]: rectangles within the picture, height / width about `aspect`; turned ones may have corners outside."""
    n = len(changes)
    least_area, turned = torch.tensor([(change.least_area, change.turned) for change in changes]).T
    area = least_area + (1 - least_area) * torch.rand(n)
    squeeze = torch.exp(torch.empty(n).uniform_(-0.25, 0.25)) * math.sqrt(aspect)
    half_x, half_y = (area.sqrt() / squeeze).clamp(max=1), (area.sqrt() * squeeze).clamp(max=1)
    x = torch.empty(n).uniform_(-1, 1) * (1 - half_x)
    y = torch.empty(n).uniform_(-1, 1) * (1 - half_y)
    angle = torch.empty(n).uniform_(-math.pi, math.pi) * (torch.rand(n) < turned)
    cos, sin = angle.cos(), angle.sin()
    rows = (torch.stack([half_x * cos, -half_y * sin, x], 1), torch.stack([half_x * sin, half_y * cos, y], 1))
    return torch.stack(rows, 1)


def sampled(values: Tensor, placement: Tensor, height: int, width: int) -> Tensor:
    """The views' pixels [n, channels, height, width], black outside of the picture."""
    points = affine_grid(placement, [len(values), 1, height, width], align_corners=False)
    return grid_sample(values, points, padding_mode="zeros", align_corners=False)


def recolored(values: Tensor, share: Tensor) -> Tensor:
    """Hue, saturation, contrast and brightness changed in about that share [n] of the pictures; one in five of them is
    grey."""
    n = len(values)
    changed = (torch.rand(n) < share).float()
    is_grey = (changed > 0) & (torch.rand(n) < 0.2)
    in_hsv = (changed > 0) & (torch.rand(n) < 0.5)
    saturation = (1 + changed * torch.empty(n).uniform_(-0.8, 0.6)).masked_fill(is_grey, 0)
    hue = (changed * torch.empty(n).uniform_(-1, 1) * math.pi * 0.6).masked_fill(in_hsv, 0)
    gain = 1 + changed * torch.empty(n).uniform_(-0.45, 0.45)
    contrast = 1 + changed * torch.empty(n).uniform_(-0.5, 0.5)
    turned = values.clone()
    turned[in_hsv] = hue_turned(values[in_hsv], torch.empty(int(in_hsv.sum())).uniform_(-0.3, 0.3))
    matrix = gain[:, None, None] * color_matrix(hue, saturation)
    turned = torch.bmm(matrix, turned.flatten(2)).view_as(values)
    mean = turned.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + (turned - mean) * contrast[:, None, None, None]).clamp(0, 1)


def hue_turned(values: Tensor, turn: Tensor) -> Tensor:
    """Hue of HSV turned by that part of the circle [n]; value and saturation stay, so that the luminance changes."""
    value, low = values.amax(dim=1), values.amin(dim=1)
    chroma = value - low
    red, green, blue = values.unbind(1)
    divisor = chroma.clamp_min(1e-6)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    sixth = sixth + 6 * turn[:, None, None]
    distances = [(sixth + start) % 6 for start in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in distances], 1)


def color_matrix(hue: Tensor, saturation: Tensor) -> Tensor:
    """[n, 3, 3]: turns colors by `hue` radians about the axis of greys and stretches them away from it.

    Rodrigues' rotation formula; a third of the circle exchanges the channels.
    """
    grey = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = (saturation * hue.cos())[:, None, None], (saturation * hue.sin())[:, None, None]
    return grey + cos * (torch.eye(3) - grey) + sin * across


def normalized(values: Tensor) -> Tensor:
    """Colors 0 to 1 -> what the model reads."""
    return (values - values.new_tensor(MEAN)[:, None, None]) / values.new_tensor(DEVIATION)[:, None, None]


def patch_centers(rows: int, columns: int) -> Tensor:
    """[rows * columns, 2], row by row."""
    y, x = (torch.arange(rows) + 0.5) * 2 / rows - 1, (torch.arange(columns) + 0.5) * 2 / columns - 1
    return torch.stack([x.repeat(rows), y.repeat_interleave(columns)], 1)


def carried(points: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Points [m, 2] of the views placed by `source`, as points [n, m, 2] of the views placed by `target`.

    Both placements [n, 2, 3] are of the same pictures. Points outside of -1 to 1 are not in the target view.
    """
    on_picture = points @ source[:, :, :2].transpose(1, 2) + source[:, None, :, 2]
    from_center = (on_picture - target[:, None, :, 2]).transpose(1, 2)
    places: Tensor = torch.linalg.solve(target[:, :, :2], from_center).transpose(1, 2)
    return places
