"""Typeset report.pdf, two pages of a harbour's annual report: `python examples/make_report.py`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

HERE = Path(__file__).parent
STYLE = {"font.family": "STIXGeneral", "pdf.fonttype": 42, "font.size": 11, "axes.titlesize": 12}

WIDTH, HEIGHT = 595, 842
"""A4 in points."""
MARGIN, GUTTER = 54, 24
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
BLUE, GREY, PALE = "#1f4e6b", "#5a6b75", "#9ec5d6"
TEXT_SIZE = 11.5

YEARS = range(2016, 2026)
SHIPS = [212, 225, 231, 240, 198, 205, 233, 251, 268, 290]
FISH = [[14, 13, 15, 12, 11, 12, 13, 13, 14, 16], [9, 9, 8, 8, 7, 7, 6, 6, 6, 5]]
MONEY = [
    ["Harbour dues", "3.1", "3.6"],
    ["Rent of land and houses", "1.9", "2.0"],
    ["Water and power", "0.7", "1.1"],
    ["Repairs", "-1.8", "-2.4"],
    ["Wages", "-2.2", "-2.3"],
    ["Result", "1.7", "2.0"],
]

FIRST = (
    "The year was a good one for the harbour. More ships came than in any year before, and they stayed for a shorter "
    "time, because two new cranes lift their cargo from the quay. Most of them brought timber, stone and grain.",
    "In March a storm broke the old wall at the north side. Nobody was hurt, but the water stood in the market hall "
    "for three days. The wall has been built again, a metre higher, from stone of the island.",
    "Forty people work for the harbour, six more than last year. Two young women are the first to learn the work of "
    "a pilot here, and the oldest of our cooks went home after fifty years in the kitchen.",
    "In summer the harbour was full of music: the town danced on the quay for a week, and the fire brigade gave "
    "bread and soup to everybody. We thank all who have helped, on land and at sea.",
)
SECOND = (
    "Fishing goes on to change. Our boats landed more herring than for ten years, while the cod stayed away. The old "
    "ice house is closed; a new one makes ice from sea water.",
    "The ferry to the islands carried 84 thousand people. From April on it will leave every hour until ten at night, "
    "and children will travel free of charge.",
    "Next year we plant trees along the road to the station, paint the lighthouse and open a school for sailing. The "
    "council has given the money for all three.",
    "A new bridge for bicycles will lead over the river. It opens by itself for every boat, so that nobody has to "
    "wait for long.",
)


def write(path: Path) -> None:
    # Nothing of the time and the place, so that the same program writes the same file.
    metadata = {"Title": "Annual report of the harbour", "Creator": None, "Producer": None, "CreationDate": None}
    with rc_context(STYLE), PdfPages(path, metadata=metadata) as pdf:
        for page in (first_page(), second_page()):
            pdf.savefig(page)


def first_page() -> Figure:
    """Title, three paragraphs in two columns, ships a year as bars."""
    page = blank_page(1)
    put(page, MARGIN, 96, "The harbour in 2025", fontsize=30, weight="bold", color=BLUE)
    put(page, MARGIN, 122, "Annual report: ships, storm and people", fontsize=14, style="italic", color=GREY)
    rule(page, 140)
    columns(page, 172, FIRST[:2], FIRST[2:])
    axes = chart(page, 420, 320, "Ships that called at the harbour, by year")
    bars = axes.bar(YEARS, SHIPS, 0.62, color=[PALE] * 9 + [BLUE])
    axes.bar_label(bars, padding=3, fontsize=9.5)
    axes.set_xticks(list(YEARS))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return page


def second_page() -> Figure:
    """Catch of fish as lines, three paragraphs in two columns, a table of money."""
    page = blank_page(2)
    put(page, MARGIN, 84, "Fish, ferry and money", fontsize=22, weight="bold", color=BLUE)
    rule(page, 100)
    axes = chart(page, 140, 180, "Fish landed, thousand tonnes")
    for name, catch, color in zip(("herring", "cod"), FISH, (BLUE, GREY), strict=True):
        axes.plot(YEARS, catch, color=color, linewidth=1.8, marker="o", markersize=4)
        axes.annotate(name, (YEARS[-1], catch[-1]), (8, -3), textcoords="offset points", color=color, fontsize=11)
    axes.set(ylim=(0, 18), xlim=(2015.6, 2025.9), xticks=list(YEARS), yticks=[0, 5, 10, 15])
    axes.grid(axis="y", color="#e3e9ec")
    columns(page, 366, SECOND[:2], SECOND[2:])
    table(page, 572)
    return page


def blank_page(number: int) -> Figure:
    page = Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="white")
    put(page, MARGIN, HEIGHT - 36, "Harbour office, Quay Street 1", fontsize=9, color=GREY)
    put(page, WIDTH - MARGIN, HEIGHT - 36, f"page {number} of 2", fontsize=9, color=GREY, ha="right")
    return page


def put(page: Figure, x: float, y: float, text: str, **style: object) -> None:
    """A text whose first line stands so many points from the left and from the top."""
    page.text(x / WIDTH, 1 - y / HEIGHT, text, **({"va": "baseline"} | style))


def rule(page: Figure, y: float, color: str = BLUE, width: float = 1.2) -> None:
    """A line across the page."""
    height = 1 - y / HEIGHT
    page.add_artist(Line2D([MARGIN / WIDTH, 1 - MARGIN / WIDTH], [height, height], color=color, linewidth=width))


def columns(page: Figure, y: float, *texts: tuple[str, ...]) -> None:
    for place, paragraphs in enumerate(texts):
        text = "\n\n".join("\n".join(lines(paragraph)) for paragraph in paragraphs)
        put(page, MARGIN + place * (COLUMN + GUTTER), y, text, va="top", fontsize=TEXT_SIZE, linespacing=1.3)


def lines(paragraph: str) -> Iterator[str]:
    """The paragraph in lines no wider than a column."""
    line = ""
    for word in paragraph.split():
        longer = f"{line} {word}".strip()
        if TextPath((0, 0), longer, size=TEXT_SIZE).get_extents().width > COLUMN:
            yield line
            longer = word
        line = longer
    yield line


def chart(page: Figure, y: float, height: float, title: str) -> Axes:
    left, width = MARGIN / WIDTH, 1 - 2 * MARGIN / WIDTH
    axes = page.add_axes((left, 1 - (y + height) / HEIGHT, width, height / HEIGHT))
    axes.set_title(title, loc="left", weight="bold", pad=12)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def table(page: Figure, y: float) -> None:
    put(page, MARGIN, y, "Money, in millions", fontsize=12, weight="bold")
    rows = [["", "2024", "2025"], *MONEY]
    for number, (name, *amounts) in enumerate(rows):
        height = y + 24 + 22 * number
        weight = "bold" if number in (0, len(rows) - 1) else "normal"
        put(page, MARGIN, height, name, weight=weight)
        for amount, x in zip(amounts, np.array([0.78, 1.0]) * (WIDTH - 2 * MARGIN) + MARGIN, strict=True):
            put(page, x, height, amount.replace("-", "\N{MINUS SIGN}"), weight=weight, ha="right")
        rule(page, height + 7, "#c9d4da", 0.6)


if __name__ == "__main__":
    write(HERE / "report.pdf")
