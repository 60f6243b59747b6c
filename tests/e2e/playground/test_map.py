"""The map: projections, neighbours and groups, against numpy."""

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, Page, Request, Route, expect

from tests.e2e.conftest import REPO, Server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
Numbers = NDArray[np.float64]
EXAMPLES = REPO / "examples"
PICTURES = [EXAMPLES / name for name in ("picture.png", "lighthouse.png", "page.png")]


@pytest.fixture
def panel(open_panel: OpenPanel) -> Locator:
    panel = open_panel("map").locator("#panel-map")
    # Before the models are listed there is none to ask.
    expect(panel.get_by_label("Model").first).to_have_value("e5-starter")
    return panel


def draw(panel: Locator) -> None:
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_text("of the variance")).to_be_visible()


def points_of(panel: Locator) -> Locator:
    return panel.get_by_role("listbox", name="Map of the embeddings").get_by_role("option")


def texts_of(panel: Locator) -> list[str]:
    lines: list[str] = panel.get_by_label("Texts, a line each").input_value().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def embedded(server: Server, texts: list[str]) -> Numbers:
    with server.client() as client:
        answer = client.post("/vectorize-batch", json={"items": texts, "model": "e5-starter"})
    vectors = np.asarray(answer.json()["vectors"])
    return unit(vectors)


def unit(vectors: Numbers) -> Numbers:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def table_of(panel: Locator) -> list[list[str]]:
    if not panel.locator("details.card").evaluate("details => details.open"):
        panel.get_by_text("As a table").click()
    rows: list[list[str]] = panel.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return rows


def test_the_map_is_the_principal_components_of_the_vectors(panel: Locator, playground_server: Server) -> None:
    draw(panel)
    texts = texts_of(panel)
    vectors = embedded(playground_server, texts)
    centred = vectors - vectors.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2] * np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])[:, None]
    coordinates, shares = centred @ directions.T, singular**2 / (singular**2).sum()
    cosines = vectors @ vectors.T - 2 * np.eye(len(texts))

    rows = table_of(panel)
    assert [row[0] for row in rows] == texts
    assert {row[1] for row in rows} == {"Ships", "Weather", "Cooking", "Money", "Computers"}
    shown = np.array([[float(row[2]), float(row[3])] for row in rows])
    np.testing.assert_allclose(shown, coordinates, atol=0.0006)
    assert [row[4] for row in rows] == [texts[index] for index in cosines.argmax(axis=1)]
    np.testing.assert_allclose([float(row[5]) for row in rows], cosines.max(axis=1), atol=0.0006)
    expect(panel.get_by_text("of the variance")).to_contain_text(
        f"hold {100 * shares[:2].sum():.0f} % of the variance ({100 * shares[0]:.0f} % and {100 * shares[1]:.0f} %)"
    )


def test_groups_make_sense_with_the_starter_model(panel: Locator) -> None:
    draw(panel)
    rows = table_of(panel)
    groups = {row[0]: row[1] for row in rows}
    assert np.mean([groups[row[4]] == row[1] for row in rows]) >= 0.8
    legend = panel.get_by_role("list", name="Groups")
    expect(legend.get_by_role("listitem")).to_have_text(["Ships", "Weather", "Cooking", "Money", "Computers"])
    # Told apart without colours too.
    shapes = legend.locator("path").evaluate_all("paths => paths.map((path) => path.getAttribute('d'))")
    assert len(set(shapes)) == 5


def test_points_are_labelled_and_show_their_neighbours(panel: Locator, playground_server: Server) -> None:
    draw(panel)
    texts = texts_of(panel)
    vectors = embedded(playground_server, texts)
    chosen = texts.index("The server listens on a network port.")
    point = panel.get_by_role("option", name=texts[chosen])
    point.hover()
    expect(panel.locator(".tip")).to_have_text("The server listens on a network port. Computers")
    point.click()
    expect(point).to_have_attribute("aria-selected", "true")
    cosines = vectors @ vectors[chosen]
    nearest = np.argsort(-cosines)[1:6]
    expect(panel.locator(".nearest li")).to_have_text(
        [f"{cosines[index]:.3f}{texts[index]}{group_of(panel, texts[index])}" for index in nearest]
    )
    expect(panel.locator(".lines line")).to_have_count(5)


def group_of(panel: Locator, text: str) -> str:
    lines: list[str] = panel.get_by_label("Texts, a line each").input_value().splitlines()
    headings = [line for line in lines[: lines.index(text)] if line.startswith("#")]
    return headings[-1].removeprefix("# ")


def test_with_the_keyboard_alone(panel: Locator) -> None:
    panel.get_by_role("button", name="Draw the map").press("Enter")
    expect(panel.get_by_text("of the variance")).to_be_visible()
    options = points_of(panel)
    options.nth(0).press("ArrowRight")
    expect(options.nth(1)).to_be_focused()
    expect(panel.locator(".tip")).to_contain_text("A sailing boat waits for wind.")
    expect(panel.locator("h3")).to_have_text("Nearest to A sailing boat waits for wind.")
    assert_accessible(panel.page)
    panel.get_by_role("radio", name="PCA").press("ArrowRight")
    expect(panel.get_by_text("axes and long distances mean nothing")).to_be_visible()
    # The chosen point stays.
    expect(panel.locator("h3")).to_have_text("Nearest to A sailing boat waits for wind.")
    assert_accessible(panel.page)


def test_tsne_keeps_neighbours_and_is_the_same_each_time(panel: Locator) -> None:
    draw(panel)
    flat = [row[2:4] for row in table_of(panel)]
    kept = share_kept(panel)
    panel.get_by_role("radio", name="t-SNE").click()
    expect(panel.get_by_text("axes and long distances mean nothing")).to_be_visible()
    assert share_kept(panel) > kept
    first = [row[2:4] for row in table_of(panel)]
    assert first != flat
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_text("axes and long distances mean nothing")).to_be_visible()
    assert [row[2:4] for row in table_of(panel)] == first


def share_kept(panel: Locator) -> int:
    sentence = panel.get_by_text("nearest neighbours").inner_text()
    return int(sentence.split("neighbours, ")[1].split(" %")[0])


def test_lines_name_their_groups_and_are_embedded_once(panel: Locator) -> None:
    requests: list[Request] = []
    panel.page.on("request", lambda request: requests.append(request) if request.method == "POST" else None)
    area = panel.get_by_label("Texts, a line each")
    area.fill("no group\n# Birds\nA heron waits.\nA gull cries.\nFish\tA cod swims.\n")
    draw(panel)
    assert [row[:2] for row in table_of(panel)] == [
        ["no group", ""],
        ["A heron waits.", "Birds"],
        ["A gull cries.", "Birds"],
        ["A cod swims.", "Fish"],
    ]
    area.fill("A gull cries.\nA gull cries.\nA tern dives.")
    panel.get_by_role("button", name="Draw the map").click()
    expect(points_of(panel)).to_have_count(3)
    sent = [request.post_data_json["items"] for request in requests if request.post_data_json]
    assert sent == [["no group", "A heron waits.", "A gull cries.", "A cod swims."], ["A tern dives."]]
    assert [row[5] for row in table_of(panel)][:2] == ["1.000", "1.000"]


def test_what_cannot_be_drawn_is_said(panel: Locator) -> None:
    area = panel.get_by_label("Texts, a line each")
    area.fill("# Birds\nalone")
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_role("alert")).to_have_text("Write two lines or more.")
    area.fill("\n".join(f"line {number}" for number in range(1001)))
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_role("alert")).to_have_text("These are 1001 lines; up to 1000 can be shown.")
    panel.get_by_role("radio", name="Pages and pictures").click()
    expect(panel.get_by_role("alert")).to_be_hidden()
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_role("alert")).to_have_text("Add two pages or pictures, or more.")
    panel.get_by_label("Pages and pictures", exact=True).set_input_files(EXAMPLES / "search.py")
    expect(panel.get_by_text("search.py: File 1 (search.py) is not an image")).to_be_visible()


def test_the_servers_words_and_stopping(panel: Locator) -> None:
    refusal = {"detail": "items[0] is too long."}
    panel.page.route("**/vectorize-batch", lambda route: route.fulfill(status=400, json=refusal))
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_role("alert")).to_have_text("items[0] is too long.")
    panel.page.unroute("**/vectorize-batch")
    held: list[Route] = []
    panel.page.route("**/vectorize-batch", lambda route: held.append(route))
    panel.get_by_role("button", name="Draw the map").click()
    expect(panel.get_by_role("progressbar")).to_be_visible()
    panel.get_by_role("button", name="Stop").click()
    expect(panel.get_by_role("progressbar")).to_be_hidden()
    expect(panel.get_by_text("of the variance")).to_be_hidden()
    panel.page.unroute("**/vectorize-batch")
    draw(panel)


def test_pictures_by_their_whole_vectors(panel: Locator, playground_server: Server) -> None:
    take_pictures(panel, PICTURES)
    expect(panel.get_by_label("Model").last).to_have_value("dinov3-starter")
    draw(panel)
    images = [base64.b64encode(file.read_bytes()).decode() for file in PICTURES]
    with playground_server.client() as client:
        answer = client.post("/predict", json={"image_data": images, "embedding_types": ["cls_token"]}).json()
    vectors = unit(np.asarray([each["cls_token"] for each in answer]))
    rows = table_of(panel)
    assert [row[4] for row in rows[:2]] == ["lighthouse.png", "picture.png"]
    assert float(rows[0][5]) == pytest.approx(vectors[0] @ vectors[1], abs=0.002)
    # The points are small pictures themselves.
    expect(panel.locator(".point image")).to_have_count(3)
    assert_accessible(panel.page)


def test_pages_by_the_mean_of_their_patches(panel: Locator, playground_server: Server) -> None:
    take_pictures(panel, PICTURES[1:])
    panel.get_by_label("Model").last.select_option("colqwen2.5-starter")
    draw(panel)
    with playground_server.client() as client:
        files = [("files", file.read_bytes()) for file in PICTURES[1:]]
        answer = client.post("/embed/images", params={"model": "colqwen2.5-starter"}, files=files).json()
    means = [
        np.mean(np.asarray(page["embedding"])[page["image_patch_indices"]], axis=0) for page in answer["embeddings"]
    ]
    one, other = unit(np.asarray(means))
    assert float(table_of(panel)[0][5]) == pytest.approx(one @ other, abs=0.002)


def take_pictures(panel: Locator, files: list[Path]) -> None:
    panel.get_by_role("radio", name="Pages and pictures").click()
    panel.get_by_label("Pages and pictures", exact=True).set_input_files(files)
    expect(panel.get_by_text(f"{len(files)} pages and pictures", exact=True)).to_be_visible()


def test_on_a_phone(phone: BrowserContext, panel: Locator) -> None:
    draw(panel)
    table_of(panel)
    assert_fits(panel.page)
    assert_accessible(panel.page)
