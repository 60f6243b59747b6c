"""Page and query: maps over a page."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import REPO
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
EXAMPLE = REPO / "examples" / "page.png"
REPORT = REPO / "examples" / "report.pdf"


def match(panel: Locator, file: Path, query: str) -> None:
    panel.get_by_role("searchbox", name="Query").fill(query)
    panel.get_by_label("A page: picture or PDF").set_input_files(file)
    expect(panel.get_by_text("MaxSim of these tokens")).to_be_visible()


def value_under(panel: Locator) -> float:
    """What is read out for the patch that is framed."""
    text = panel.locator("output").inner_text()
    return float(re.search(r": (-?[\d.]+)$", text).group(1))  # type: ignore[union-attr]


def test_the_highest_patch_of_a_word_lies_on_it(open_panel: OpenPanel) -> None:
    panel = open_panel("page").locator("#panel-page")
    match(panel, EXAMPLE, "shore power")
    expect(panel.get_by_role("radio")).to_have_text(
        [re.compile("All tokens"), re.compile("shore"), re.compile("power")]
    )
    panel.get_by_role("radio", name="shore").click()
    panel.get_by_role("button", name="Number 1").click()
    # Of 24 x 31 patches; the words stand in the third line of the first paragraph.
    expect(panel.locator("output")).to_have_text(re.compile(r"Column 1[5-8], row 6: 0\.[6-9]"))


def test_changing_the_token_asks_the_server_nothing(open_panel: OpenPanel) -> None:
    page = open_panel("page")
    panel = page.locator("#panel-page")
    match(panel, EXAMPLE, "shore power")
    canvas = panel.locator("canvas")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    pictures = {picture_of(canvas)}
    for token in ("shore", "power"):
        panel.get_by_role("radio", name=token).hover()
        pictures.add(picture_of(canvas))
    assert len(pictures) == 3
    # The one under the pointer is shown only as long as it is there.
    page.mouse.move(0, 0)
    pictures.add(picture_of(canvas))
    assert len(pictures) == 3
    assert asked == []


def picture_of(canvas: Locator) -> str:
    picture: str = canvas.evaluate("canvas => canvas.toDataURL()")
    return picture


def test_with_the_keyboard_alone(open_panel: OpenPanel) -> None:
    page = open_panel("page")
    panel = page.locator("#panel-page")
    panel.get_by_role("button", name="Take the example page").press("Enter")
    expect(panel.get_by_role("radio", name="All tokens")).to_be_visible()
    panel.get_by_role("searchbox", name="Query").press("Control+a")
    page.keyboard.type("shore power")
    page.keyboard.press("Enter")
    panel.get_by_role("radio", name="All tokens").focus()
    expect(panel.get_by_role("radio", name="power")).to_be_visible()
    panel.get_by_role("radio", name="All tokens").press("ArrowRight")
    expect(panel.get_by_role("radio", name="shore")).to_have_attribute("aria-checked", "true")
    expect(panel.get_by_role("radio", name="shore")).to_be_focused()
    canvas = panel.get_by_role("img", name="Similarity map")
    canvas.press("ArrowDown")
    expect(panel.locator("output")).to_have_text(re.compile("Column 1, row 1"))
    canvas.press("ArrowDown")
    canvas.press("ArrowRight")
    expect(panel.locator("output")).to_have_text(re.compile("Column 2, row 2"))
    assert -1 <= value_under(panel) <= 1


def test_another_model_keeps_page_and_query(open_panel: OpenPanel) -> None:
    panel = open_panel("page").locator("#panel-page")
    match(panel, EXAMPLE, "shore power")
    for model in ("colqwen2-starter", re.compile("colpali")):
        option = panel.get_by_role("option", name=model).get_attribute("value")
        panel.get_by_label("Model").select_option(option)
        expect(panel.locator(".snippet code")).to_contain_text(f"model={option}")
        expect(panel.locator(".busy").last).to_have_text("")
        expect(panel.get_by_text("MaxSim of these tokens")).to_be_visible()
    expect(panel.get_by_role("searchbox", name="Query")).to_have_value("shore power")


def test_pages_of_a_pdf_are_chosen_by_their_thumbnails(open_panel: OpenPanel) -> None:
    panel = open_panel("page").locator("#panel-page")
    match(panel, REPORT, "harbour")
    expect(panel.get_by_role("button", name="Page 1")).to_have_attribute("aria-pressed", "true")
    first = panel.get_by_role("img", name="report.pdf, page 1")
    expect(first).to_be_visible()
    panel.get_by_role("button", name="Page 2").click()
    expect(panel.get_by_role("img", name="report.pdf, page 2")).to_be_visible()
    expect(panel.locator(".snippet code")).to_contain_text("page=2")
    expect(panel.get_by_text("MaxSim of these tokens")).to_be_visible()


def test_the_heatmap_is_saved_at_the_size_of_the_page(open_panel: OpenPanel) -> None:
    page = open_panel("page")
    panel = page.locator("#panel-page")
    match(panel, EXAMPLE, "ships")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download PNG").click()
    saved = Image.open(BytesIO(Path(download.value.path()).read_bytes()))
    with Image.open(EXAMPLE) as original:
        assert saved.size == original.size
        # The map is over it.
        assert saved.convert("RGB").tobytes() != original.convert("RGB").tobytes()


def test_the_calls_are_shown_to_be_copied(open_panel: OpenPanel) -> None:
    panel = open_panel("page").locator("#panel-page")
    match(panel, EXAMPLE, "ships")
    panel.get_by_text("The same with curl or Python").click()
    code = panel.locator(".snippet code")
    expect(code).to_contain_text("/interpret' \\")
    expect(code).to_contain_text("-F 'file=@page.png'")
    panel.get_by_role("button", name="Python").click()
    expect(code).to_contain_text('files=[("file", open("page.png", "rb"))]')


def test_errors_are_shown_in_the_words_of_the_server(open_panel: OpenPanel, tmp_path: Path) -> None:
    panel = open_panel("page").locator("#panel-page")
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing more")
    panel.get_by_label("A page: picture or PDF").set_input_files(broken)
    expect(panel.get_by_role("alert").first).to_contain_text("broken.pdf")
    text = tmp_path / "notes.txt"
    text.write_text("words")
    panel.get_by_label("A page: picture or PDF").set_input_files(text)
    expect(panel.get_by_role("alert").first).to_contain_text("notes.txt")
    # The next one is none the worse for it.
    match(panel, EXAMPLE, "ships")
    expect(panel.get_by_role("alert").first).to_be_hidden()


@pytest.mark.usefixtures("phone")
def test_it_is_accessible_and_fits_a_phone(open_panel: OpenPanel) -> None:
    page = open_panel("page")
    match(page.locator("#panel-page"), EXAMPLE, "shore power")
    assert_fits(page)
    assert_accessible(page)
