"""Draw pages/*.png, eight pages of a small town to search in: `python examples/make_pages.py`."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from PIL import Image

HERE = Path(__file__).parent / "pages"
WIDTH, HEIGHT, MARGIN = 816, 1056, 72
"""Pixels. Print is at least 21 pixels high, so that models see it at 16 once they have scaled the page down."""
TEXT, SMALL, HEADLINE = 22, 21, 46
PIXELS_A_POINT = 100 / 72
INK, GREY = "#22303a", "#52616b"
N_COLORS = 32
"""A palette keeps each file below 60 kB."""


class Sheet:
    """An empty page; positions are pixels from the left and from the top."""

    def __init__(self, headline: str, line: str, color: str) -> None:
        self.figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="white")
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        self.axes.axis("off")
        self.color = color
        self.put(MARGIN, 120, headline, HEADLINE, color=color, weight="bold")
        self.put(MARGIN, 166, line, TEXT, color=GREY)
        self.rule(190, color, 3)

    def put(self, x: float, y: float, text: str, size: float = TEXT, **style: object) -> None:
        """Text whose first baseline is at y."""
        self.axes.text(x, y, text, **({"fontsize": size / PIXELS_A_POINT, "color": INK} | style))

    def lines(self, y: float, lines: Sequence[str], x: float = MARGIN, step: float = 36) -> None:
        for number, line in enumerate(lines):
            self.put(x, y + number * step, line)

    def rule(self, y: float, color: str = "#c9d2d8", width: float = 1) -> None:
        self.axes.plot([MARGIN, WIDTH - MARGIN], [y, y], color=color, linewidth=width)

    def table(self, y: float, rows: Sequence[Sequence[str]], places: Sequence[float], step: float = 46) -> None:
        """The first row is the heading."""
        for number, row in enumerate(rows):
            height = y + number * step
            for place, cell in zip(places, row, strict=True):
                self.put(place, height, cell, weight="normal" if number else "bold")
            self.rule(height + 15, self.color if number == 0 else "#c9d2d8")

    def box(self, x: float, y: float, width: float, height: float, color: str) -> None:
        self.axes.add_patch(Rectangle((x, y), width, height, color=color, linewidth=0))

    def shape(self, points: Sequence[tuple[float, float]], color: str) -> None:
        self.axes.add_patch(Polygon(points, color=color, linewidth=0))

    def disc(self, x: float, y: float, radius: float, color: str) -> None:
        self.axes.add_patch(Circle((x, y), radius, color=color, linewidth=0))


def storm() -> Sheet:
    sheet = Sheet("Winter storm", "Weather report for the coast, Monday evening", "#1f4e6b")
    sheet.lines(250, ["A winter storm comes from the north tonight.", "Strong wind and snow will last until morning,",
                      "with ice on roads and bridges. Stay at home."])  # fmt: skip
    sheet.put(MARGIN, 430, "Wind speed, miles an hour", weight="bold")
    speeds = [18, 24, 33, 52, 67, 61, 44, 29]
    for hour, speed in enumerate(speeds):
        x, height = MARGIN + 12 + hour * 84, speed * 5
        sheet.box(x, 820 - height, 56, height, "#1f4e6b" if speed > 50 else "#9ec5d6")
        sheet.put(x + 28, 812 - height, str(speed), SMALL, ha="center")
        sheet.put(x + 28, 850, f"{(18 + 2 * hour) % 24}:00", SMALL, color=GREY, ha="center")
    sheet.lines(920, ["Boats must stay at the shore. Schools are closed", "on Tuesday."])
    return sheet


def garden() -> Sheet:
    sheet = Sheet("Garden calendar", "What to plant, and when to water it", "#2f6b2f")
    rows = [["Plant", "Seed", "Harvest", "Water"], ["Apple tree", "November", "September", "little"],
            ["Rice", "May", "August", "every day"], ["Grass", "March", "July", "little"],
            ["Rose", "April", "June", "once a week"], ["Corn", "April", "October", "once a week"]]  # fmt: skip
    sheet.table(260, rows, [MARGIN, 250, 420, 590])
    sheet.put(MARGIN, 600, "Flowers", 30, weight="bold", color="#2f6b2f")
    sheet.lines(650, ["Cut a rose in the morning, while the leaf is wet.", "Bees like yellow flowers best."])
    for x, color in zip(range(140, 740, 130), ("#d9534f", "#f0b429", "#b565c9", "#f0b429", "#d9534f"), strict=True):
        sheet.axes.plot([x, x], [850, 960], color="#2f6b2f", linewidth=4)
        sheet.shape([(x, 930), (x + 46, 895), (x + 12, 945)], "#5aa35a")
        for angle in np.linspace(0, 2 * np.pi, 7)[:-1]:
            sheet.disc(x + 25 * np.cos(angle), 835 + 25 * np.sin(angle), 17, color)
        sheet.disc(x, 835, 16, "#5b3a1e")
    return sheet


def bread() -> Sheet:
    sheet = Sheet("Bread from the oven", "A recipe for two loaves", "#8a4b14")
    sheet.box(MARGIN, 225, 260, 310, "#f7ecdd")
    sheet.put(MARGIN + 20, 270, "You need", weight="bold")
    sheet.lines(315, ["flour, one pound", "water, half a cup", "salt and sugar", "butter", "two eggs"], MARGIN + 20, 42)
    sheet.shape([(390, 470), (410, 380), (480, 330), (600, 320), (690, 360), (735, 470)], "#c98a45")
    for x in (470, 550, 630):
        sheet.shape([(x - 30, 430), (x + 5, 350), (x + 25, 350), (x - 8, 430)], "#f1d8b0")
    steps = ["1. Mix flour, salt and warm water in a bowl.", "2. Add the eggs and beat until smooth.",
             "3. Cover, and let it rest for an hour.", "4. Bake in a hot oven until the crust is brown.",
             "5. Let the bread cool before you cut it."]  # fmt: skip
    sheet.lines(620, steps, step=56)
    sheet.put(MARGIN, 950, "Eat with cheese and cold milk.", color=GREY)
    return sheet


def train() -> Sheet:
    sheet = Sheet("Train times", "Central station, valid from Sunday", "#7a1f3d")
    rows = [["Train", "To", "Leaves", "Platform"], ["Express", "Capital city", "7:15", "1"],
            ["Local", "River bridge", "7:40", "3"], ["Express", "Island", "8:05", "2"],
            ["Night train", "Mountain", "22:30", "1"], ["Local", "Market", "23:10", "4"]]  # fmt: skip
    sheet.table(260, rows, [MARGIN, 270, 480, 620])
    sheet.put(MARGIN, 610, "Tickets", 30, weight="bold", color="#7a1f3d")
    sheet.lines(660, ["Buy a ticket before you travel. Children under six", "travel free. Dogs need a ticket too.",
                      "A seat may be reserved at the counter."])  # fmt: skip
    for x in (MARGIN, 300, 528):
        sheet.box(x, 830, 216, 110, "#7a1f3d")
        for window in range(3):
            sheet.box(x + 18 + window * 64, 850, 50, 40, "#dfe9f0")
        for wheel in (48, 168):
            sheet.disc(x + wheel, 946, 20, "#22303a")
    sheet.axes.plot([40, WIDTH - 40], [968, 968], color=GREY, linewidth=4)
    return sheet


def dance() -> Sheet:
    sheet = Sheet("Summer dance", "Music in the park, Saturday at eight", "#5b2f8a")
    sheet.box(MARGIN, 225, WIDTH - 2 * MARGIN, 330, "#efe8f7")
    for row in range(5):
        height = 330 + row * 30
        sheet.axes.plot([100, WIDTH - 100], [height, height], color="#5b2f8a", linewidth=1.5)
    for x, y in zip(range(160, 700, 75), (450, 420, 405, 375, 390, 345, 420, 360), strict=True):
        sheet.disc(x, y, 16, "#5b2f8a")
        sheet.axes.plot([x + 14, x + 14], [y, y - 95], color="#5b2f8a", linewidth=3)
    sheet.put(WIDTH / 2, 620, "The school choir sings old songs", 30, ha="center", weight="bold")
    program = ["Piano and a singer", "The town band plays until ten", "A party for young and old"]
    sheet.lines(690, program, step=50)
    sheet.lines(880, ["Doors open at seven. Entrance is free.", "Bring a chair and a warm coat."])
    return sheet


def house() -> Sheet:
    sheet = Sheet("House for sale", "Quiet street near the church", "#a3391f")
    sheet.box(190, 400, 436, 220, "#f3e3d3")
    sheet.shape([(150, 405), (408, 235), (666, 405)], "#a3391f")
    sheet.box(375, 490, 70, 130, "#5b3a1e")
    for x in (235, 505):
        sheet.box(x, 460, 76, 76, "#9ec5d6")
    sheet.box(100, 618, 616, 10, "#5aa35a")
    sheet.lines(690, ["Four rooms, kitchen, bath and a large cellar.", "The roof is new, the walls are brick.",
                      "There is a garage for two cars."], step=42)  # fmt: skip
    sheet.table(850, [["Price", "Tax", "Age"], ["240,000", "1,900 a year", "31 years"]], [MARGIN, 330, 590])
    sheet.put(MARGIN, 980, "Ask the owner for the key.", color=GREY)
    return sheet


def doctor() -> Sheet:
    sheet = Sheet("At the doctor", "Advice for patients with a cold", "#0c6b6b")
    sheet.box(610, 60, 90, 30, "#c9302c")
    sheet.box(640, 30, 30, 90, "#c9302c")
    sheet.lines(260, ["Drink tea and sleep much. Fever is no danger", "for two days. Call us when your chest hurts,",
                      "or when breath comes short."])  # fmt: skip
    rows = [["Medicine", "Morning", "Night"], ["Pill against pain", "one", "two"], ["Cough drops", "three", "none"],
            ["Salt water for the nose", "once", "once"]]  # fmt: skip
    sheet.table(440, rows, [MARGIN, 440, 610])
    sheet.put(MARGIN, 710, "Temperature", 30, weight="bold", color="#0c6b6b")
    degrees = [37.2, 38.4, 39.1, 38.6, 37.9, 37.1, 36.8]
    places = [MARGIN + 30 + day * 100 for day in range(len(degrees))]
    heights = [935 - (degree - 36.5) * 62 for degree in degrees]
    sheet.axes.plot(places, heights, color="#c9302c", linewidth=3, marker="o", markersize=8)
    for x, name in zip(places, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True):
        sheet.put(x, 985, name, SMALL, color=GREY, ha="center")
    return sheet


def wheel() -> Sheet:
    sheet = Sheet("Repair a flat wheel", "Five steps to mend your bicycle", "#37474f")
    for x in (270, 550):
        sheet.axes.add_patch(Circle((x, 400), 105, fill=False, color="#37474f", linewidth=7))
        sheet.disc(x, 400, 9, "#37474f")
    for points in ([(270, 400), (345, 280), (500, 280), (400, 400), (270, 400)], [(345, 280), (400, 400)],
                   [(550, 400), (488, 245), (530, 235)], [(345, 280), (335, 255), (310, 255), (360, 255)]):  # fmt: skip
        sheet.axes.plot(*zip(*points, strict=True), color="#d9534f", linewidth=6)
    steps = ["1. Turn the bicycle over and take off the wheel.", "2. Find the hole: hold the tube under water.",
             "3. Dry the rubber and clean it with paper.", "4. Put glue on the patch and press hard.",
             "5. Fill the tire with air and oil the chain."]  # fmt: skip
    sheet.lines(600, steps, step=62)
    sheet.put(MARGIN, 950, "Tools: pump, glue, three small screws.", color=GREY)
    return sheet


PAGES: dict[str, Callable[[], Sheet]] = {
    "weather": storm, "garden": garden, "recipe": bread, "timetable": train,
    "poster": dance, "advert": house, "leaflet": doctor, "manual": wheel,
}  # fmt: skip


def write(name: str, sheet: Sheet) -> None:
    file = BytesIO()
    sheet.figure.savefig(file, format="png", metadata={"Software": None})
    picture = Image.open(file).convert("RGB").quantize(N_COLORS, dither=Image.Dither.NONE)
    picture.save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    with rc_context({"font.family": "DejaVu Sans"}):
        for name, draw in PAGES.items():
            write(name, draw())
