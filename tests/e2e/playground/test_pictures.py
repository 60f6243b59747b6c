"""Pictures: cosines between patches and principal components, against numpy."""

import base64
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.e2e.conftest import REPO, Server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
Numbers = NDArray[np.float64]
EXAMPLES = REPO / "examples"
BOAT, LIGHTHOUSE = EXAMPLES / "picture.png", EXAMPLES / "lighthouse.png"
GRID = (28, 21)
"""Columns and rows of both examples."""


@dataclass
class Features:
    """At unit length."""

    whole: Numbers
    patches: Numbers


def features(client: httpx.Client, file: Path, **options: int) -> Features:
    body = {"image_data": base64.b64encode(file.read_bytes()).decode()}
    answer = client.post("/predict", json=body | {"embedding_types": ["cls_token", "patch_features"]} | options).json()
    vectors = [np.asarray(answer[name]) for name in ("cls_token", "patch_features")]
    return Features(*(array / np.linalg.norm(array, axis=-1, keepdims=True) for array in vectors))


@pytest.fixture(scope="module")
def both(playground_server: Server) -> tuple[Features, Features]:
    with playground_server.client() as client:
        return features(client, BOAT), features(client, LIGHTHOUSE)


@pytest.fixture
def panel(open_panel: OpenPanel) -> Locator:
    """With both examples, which show a sail of the first."""
    panel = open_panel("pictures").locator("#panel-pictures")
    panel.get_by_role("button", name="Take the example pictures").click()
    expect(panel.get_by_text("most like it in the other picture")).to_be_visible()
    return panel


def canvas(panel: Locator, which: str) -> Locator:
    return panel.get_by_role("application", name=f"{which} picture: its patches")


def read(panel: Locator, which: str) -> str:
    """What is said of the framed patch of that picture."""
    return panel.locator("output").nth(0 if which == "First" else 1).inner_text()


def move(panel: Locator, which: str, right: int, down: int) -> None:
    """From nowhere: to the first patch, then on."""
    for key, times in (("ArrowRight", 1 + right), ("ArrowDown", down)):
        for _ in range(times):
            canvas(panel, which).press(key)


def index(column: int, row: int) -> int:
    return row * GRID[0] + column


def test_a_sail_is_found_again_in_another_picture(panel: Locator, both: tuple[Features, Features]) -> None:
    boat, lighthouse = both
    cosines = lighthouse.patches @ boat.patches[index(9, 10)]
    row, column = divmod(int(cosines.argmax()), GRID[0])
    # Where the sails of the larger boat are.
    assert 15 < column < 22
    assert 9 < row < 17
    expect(panel.get_by_text("First picture, column 10, row 11; most like it")).to_contain_text(
        f"mark 1: column {column + 1}, row {row + 1}, cosine {cosines.max():.3f}"
    )
    expect(panel.get_by_text("The pictures as wholes")).to_contain_text(f"{boat.whole @ lighthouse.whole:.3f}")
    move(panel, "Second", 3, 2)
    assert read(panel, "Second").startswith("Column 4, row 3: ")
    assert float(read(panel, "Second").split(": ")[1]) == pytest.approx(cosines[index(3, 2)], abs=2e-4)


def test_a_click_in_either_picture_asks_the_server_nothing(panel: Locator, both: tuple[Features, Features]) -> None:
    boat, lighthouse = both
    asked: list[str] = []
    panel.page.on("request", lambda request: asked.append(request.url) if "/playground/" not in request.url else None)
    box = canvas(panel, "Second").bounding_box()
    assert box
    before = canvas(panel, "First").evaluate("canvas => canvas.toDataURL()")
    # The hull of the larger boat.
    canvas(panel, "Second").click(position={"x": 18.5 / 28 * box["width"], "y": 17.5 / 21 * box["height"]})
    cosines = boat.patches @ lighthouse.patches[index(18, 17)]
    row, column = divmod(int(cosines.argmax()), GRID[0])
    assert row in (14, 15)
    expect(panel.get_by_text("Second picture, column 19, row 18; most like it")).to_contain_text(
        f"mark 1: column {column + 1}, row {row + 1}, cosine {cosines.max():.3f}"
    )
    assert canvas(panel, "First").evaluate("canvas => canvas.toDataURL()") != before
    panel.get_by_role("radio", name="Principal components").click()
    expect(panel.get_by_text("Red, green and blue")).to_be_visible()
    assert asked == []


def components(rows: Numbers) -> tuple[Numbers, Numbers]:
    """Coordinates [n, 3], shares [3]; the largest number of a direction is above zero."""
    centred = rows - rows.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:3] * np.sign(directions[np.arange(3), np.abs(directions[:3]).argmax(axis=1)])[:, None]
    return centred @ directions.T, singular[:3] ** 2 / (singular**2).sum()


def shown(text: str) -> list[float]:
    return [float(number) for number in text.split(": ")[1].split(", ")]


def test_the_components_are_those_of_all_patches_together(panel: Locator, both: tuple[Features, Features]) -> None:
    coordinates, shares = components(np.concatenate([each.patches for each in both]))
    panel.get_by_role("radio", name="Principal components").click()
    expect(panel.get_by_text("Red, green and blue")).to_contain_text(
        "with {:.0f}, {:.0f} and {:.0f} % of the variance".format(*100 * shares)
    )
    for picture, which in enumerate(("First", "Second")):
        move(panel, which, 2, 1)
        expected = coordinates[588 * picture + index(2, 1)]
        assert shown(read(panel, which)) == pytest.approx(expected, abs=0.006)


def test_patches_on_one_side_of_the_first_component_have_components_of_their_own(
    panel: Locator, both: tuple[Features, Features]
) -> None:
    rows = np.concatenate([each.patches for each in both])
    first = components(rows)[0][:, 0]
    panel.get_by_role("radio", name="Principal components").click()
    panel.get_by_label("Compute and colour").select_option(label="patches with the first component above 0")
    kept = np.flatnonzero(first > 0)
    coordinates, shares = components(rows[kept])
    expect(panel.get_by_text("Red, green and blue")).to_contain_text(f"and {100 * shares[2]:.0f} % of")
    of_first = first[: GRID[0] * GRID[1]] > 0
    move(panel, "First", 0, 0)
    column = row = 0
    for place in (int(np.flatnonzero(of_first)[0]), int(np.flatnonzero(~of_first)[0])):
        steps = place % GRID[0] - column, place // GRID[0] - row
        for n, (forward, back) in zip(steps, (("ArrowRight", "ArrowLeft"), ("ArrowDown", "ArrowUp")), strict=True):
            for _ in range(abs(n)):
                canvas(panel, "First").press(forward if n > 0 else back)
        column, row = column + steps[0], row + steps[1]
        if of_first[place]:
            expected = coordinates[np.searchsorted(kept, place)]
            assert shown(read(panel, "First")) == pytest.approx(expected, abs=0.006)
        else:
            assert read(panel, "First").endswith("left out")


def test_with_the_keyboard_alone(open_panel: OpenPanel) -> None:
    page = open_panel("pictures")
    panel = page.locator("#panel-pictures")
    panel.get_by_role("button", name="Take the example pictures").press("Enter")
    expect(panel.get_by_text("First picture, column 10, row 11; most like it")).to_be_visible()
    assert_accessible(page)
    move(panel, "Second", 4, 4)
    page.keyboard.press("Enter")
    expect(panel.get_by_text("Second picture, column 5, row 5; most like it")).to_be_visible()
    panel.get_by_role("radio", name="Cosines with a patch").press("ArrowRight")
    expect(panel.get_by_role("radio", name="Principal components")).to_be_focused()
    expect(panel.get_by_text("Red, green and blue")).to_be_visible()
    assert_accessible(page)
    # A patch that is chosen is compared.
    canvas(panel, "First").press("ArrowRight")
    page.keyboard.press("Enter")
    expect(panel.get_by_text("First picture, column 1, row 1; most like it")).to_be_visible()


def test_one_picture_alone_and_a_second_one_later(open_panel: OpenPanel) -> None:
    panel = open_panel("pictures").locator("#panel-pictures")
    panel.get_by_label("One or two pictures").set_input_files(LIGHTHOUSE)
    expect(panel.get_by_text("First picture, column 15, row 11.")).to_be_visible()
    expect(canvas(panel, "Second")).to_be_hidden()
    panel.get_by_label("A second one").set_input_files(BOAT)
    expect(panel.get_by_text("First picture, column 15, row 11; most like it")).to_be_visible()
    expect(panel.get_by_role("heading", name="Second picture: picture.png")).to_be_visible()
    panel.get_by_role("button", name="Remove the second picture").click()
    expect(panel.get_by_text("First picture, column 15, row 11.")).to_be_visible()
    expect(canvas(panel, "Second")).to_be_hidden()


def test_as_a_square(panel: Locator, playground_server: Server) -> None:
    with playground_server.client() as client:
        boat, lighthouse = (features(client, file, image_size=224).patches for file in (BOAT, LIGHTHOUSE))
    panel.get_by_label("Read as").select_option(label="square of 224 pixels")
    # The place stays the same, in 14 x 14 patches.
    cosines = lighthouse @ boat[7 * 14 + 4]
    row, column = divmod(int(cosines.argmax()), 14)
    expect(panel.get_by_text("First picture, column 5, row 8; most like it")).to_contain_text(
        f"mark 1: column {column + 1}, row {row + 1}, cosine {cosines.max():.3f}"
    )


def test_a_page_of_a_pdf(open_panel: OpenPanel) -> None:
    panel = open_panel("pictures").locator("#panel-pictures")
    panel.get_by_label("One or two pictures").set_input_files(EXAMPLES / "report.pdf")
    expect(panel.get_by_role("heading", name="First picture: report.pdf, page 1")).to_be_visible()
    panel.get_by_role("button", name="Page 2").click()
    expect(panel.get_by_role("heading", name="First picture: report.pdf, page 2")).to_be_visible()
    expect(panel.get_by_text("First picture, column")).to_be_visible()


def test_a_file_that_is_no_picture_is_named(panel: Locator) -> None:
    panel.get_by_label("A second one").set_input_files(EXAMPLES / "search.py")
    expect(panel.get_by_role("alert")).to_have_text(re.compile(r"^File 1 \(search.py\) is not an image"))
    # What was there stays.
    expect(panel.get_by_role("heading", name="Second picture: lighthouse.png")).to_be_visible()


def test_a_picture_that_the_server_refuses(panel: Locator) -> None:
    # A browser draws it, the server's limit of pixels is the server's.
    panel.page.route(
        "**/predict", lambda route: route.fulfill(status=413, json={"detail": "image_data[0] is too large."})
    )
    panel.get_by_label("Read as").select_option(label="square of 448 pixels")
    expect(panel.get_by_role("alert")).to_have_text("image_data[0] is too large.")
    panel.page.unroute("**/predict")
    panel.get_by_label("Read as").select_option(label="square of 224 pixels")
    expect(panel.get_by_role("alert")).to_be_hidden()
    expect(panel.get_by_text("First picture, column 5, row 8; most like it")).to_be_visible()


def test_on_a_phone(phone: BrowserContext, panel: Locator) -> None:
    assert_fits(panel.page)
    panel.get_by_role("radio", name="Principal components").click()
    expect(panel.get_by_text("Red, green and blue")).to_be_visible()
    assert_fits(panel.page)
    assert_accessible(panel.page)


def test_the_shown_program_runs(panel: Locator) -> None:
    panel.get_by_text("The same with curl or Python").click()
    expect(panel.locator("code")).to_contain_text("$(base64 -w0 'lighthouse.png')")
    panel.get_by_role("button", name="Python").click()
    program = panel.locator("code").inner_text()
    done = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES, capture_output=True, text=True, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == 4
    assert '"n_patches_x":28' in answers[1]
