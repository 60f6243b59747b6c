"""Draw page.png, a page of a report, and two views of the sea: `python examples/make_examples.py`."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

HERE = Path(__file__).parent

PORTS = ["Varde", "Lund", "Skagen", "Ebeltoft", "Thyborøn"]
CARGO = [[41, 47, 52], [33, 30, 36], [18, 25, 31], [12, 11, 14], [8, 9, 13]]
YEARS = ["2023", "2024", "2025"]
COLORS = ["#9ec5d6", "#4f93b3", "#1f4e6b"]

BOAT = {
    "#5b2c1e": [(-0.55, 0), (0.55, 0), (0.35, -0.25), (-0.35, -0.25)],
    "#fdfdfb": [(-0.05, 0.05), (-0.05, 1.35), (-0.65, 0.1)],
    "#e8e4da": [(0.02, 0.05), (0.02, 1.1), (0.45, 0.1)],
}
"""Colour -> corners of the hull and the two sails."""

INTRODUCTION = (
    "Five harbours on the west coast handled 146 thousand tonnes of cargo in 2025,\n"
    "nearly a third more than two years before. Skagen, where the new quay opened in\n"
    "May, grew most. Fuel use fell for the first time: ships now take shore power\n"
    "while they lie at the quay."
)
CLOSING = (
    "What comes next. The northern breakwater will be repaired in spring, before the\n"
    "ferries return. Until then the pilot station keeps its winter hours, from six in the\n"
    "morning to ten at night."
)


def draw_page() -> Figure:
    """A page of 816 x 1056 pixels: headline, text, bar chart, table."""
    figure = Figure(figsize=(8.16, 10.56), dpi=100, facecolor="white")
    figure.text(0.08, 0.93, "Harbour report 2025", fontsize=24, weight="bold", color="#1f4e6b")
    figure.text(0.08, 0.905, "Cargo, fuel and works on the west coast", fontsize=12, color="#5a6b75")
    figure.text(0.08, 0.8, INTRODUCTION, fontsize=10.5, linespacing=1.6)
    draw_chart(figure)
    draw_table(figure)
    figure.text(0.08, 0.08, CLOSING, fontsize=10.5, linespacing=1.6)
    figure.text(0.92, 0.03, "page 1", fontsize=9, color="#5a6b75", ha="right")
    return figure


def draw_chart(figure: Figure) -> None:
    axes = figure.add_axes((0.12, 0.46, 0.8, 0.28))
    places = np.arange(len(PORTS))
    for year, (label, color) in enumerate(zip(YEARS, COLORS, strict=True)):
        axes.bar(places + (year - 1) * 0.26, [row[year] for row in CARGO], 0.24, label=label, color=color)
    axes.set_title("Cargo by harbour, thousand tonnes", fontsize=12, loc="left", weight="bold")
    axes.set_xticks(places, PORTS)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def draw_table(figure: Figure) -> None:
    axes = figure.add_axes((0.08, 0.175, 0.84, 0.25))
    axes.axis("off")
    rows = [[port, *map(str, row), f"{row[-1] / row[0] - 1:+.0%}"] for port, row in zip(PORTS, CARGO, strict=True)]
    table = axes.table(rows, colLabels=["Harbour", *YEARS, "change"], loc="center", cellLoc="center")
    table.set_fontsize(10.5)
    table.scale(1, 1.9)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor("#d5dde2")
        if row == 0:
            cell.set_facecolor("#e8f0f4")
            cell.get_text().set_weight("bold")


def draw_picture() -> Figure:
    """A picture of 448 x 336 pixels: sun, sea and a sailing boat."""
    figure, axes = draw_sea(horizon=1.1, sky=(-0.6, 1.4))
    axes.add_patch(Circle((3.1, 1.6), 0.28, color="#fff3c4"))
    draw_boat(axes, 1.6, 0.95)
    return figure


def draw_lighthouse() -> Figure:
    """The same boat twice, farther away and turned around, with a lighthouse on a cliff; the sun stands higher."""
    figure, axes = draw_sea(horizon=1.3, sky=(-0.2, 1.6))
    axes.add_patch(Circle((0.75, 2.3), 0.28, color="#fff3c4"))
    cliff = [(2.45, 1.2), (2.5, 1.3), (2.9, 1.55), (3.3, 1.6), (3.7, 1.75), (4, 1.7), (4, 1.2)]
    axes.add_patch(Polygon(cliff, color="#3f5a3c"))
    axes.add_patch(Polygon([(3.42, 1.6), (3.62, 1.6), (3.58, 2.35), (3.46, 2.35)], color="#f4f1ea"))
    axes.add_patch(Polygon([(3.44, 1.85), (3.6, 1.85), (3.585, 2.1), (3.455, 2.1)], color="#b5301f"))
    axes.add_patch(Polygon([(3.42, 2.35), (3.62, 2.35), (3.52, 2.52)], color="#b5301f"))
    draw_boat(axes, 2.6, 0.55, scale=0.85, turned=True)
    draw_boat(axes, 1.0, 1.12, scale=0.5)
    return figure


def draw_sea(horizon: float, sky: tuple[float, float]) -> tuple[Figure, Axes]:
    """Sky and water, 4 x 3 units; `sky` is where its colours begin and end."""
    figure = Figure(figsize=(4.48, 3.36), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    ramp = np.linspace(0, 1, 256)[:, None]
    axes.imshow(ramp, extent=(0, 4, horizon, 3), cmap="YlOrRd_r", vmin=sky[0], vmax=sky[1], aspect="auto")
    water = (0, 4, 0, horizon)
    axes.imshow(ramp, extent=water, cmap="GnBu_r", vmin=-0.3, vmax=1.6, aspect="auto", origin="lower")
    axes.set(xlim=(0, 4), ylim=(0, 3))
    return figure, axes


def draw_boat(axes: Axes, x: float, y: float, scale: float = 1, turned: bool = False) -> None:
    """A sailing boat whose deck lies around (x, y)."""
    across = -scale if turned else scale
    for color, corners in BOAT.items():
        axes.add_patch(Polygon([(x + across * right, y + scale * up) for right, up in corners], color=color))


if __name__ == "__main__":
    with rc_context({"font.family": "DejaVu Sans"}):
        draw_page().savefig(HERE / "page.png", metadata={"Software": None})
        draw_picture().savefig(HERE / "picture.png", metadata={"Software": None})
        draw_lighthouse().savefig(HERE / "lighthouse.png", metadata={"Software": None})
