"""The panel that searches across pages: ranking, maps, embedding in the background."""

import base64
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, Request, Route, expect

from tests.e2e.conftest import REPO, Server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
MODEL, OTHER = "colqwen2.5-starter", "colqwen2-starter"
PAGES = REPO / "examples" / "pages"
N_EXAMPLES = 10
"""Eight pictures and a PDF of two pages."""
SCORE = 0.01
"""Scores are sums of a dozen cosines, of pages at half precision."""


def take_examples(page: Page, n: int = N_EXAMPLES) -> None:
    page.get_by_role("button", name="Take the example pages").click()
    expect(page.get_by_text(f"{n} of {n} embedded with {MODEL}")).to_be_visible()


def search(page: Page, query: str) -> None:
    page.get_by_role("searchbox", name="Query").fill(query)
    page.locator("#panel-search").get_by_role("button", name="Search").click()


def cards(page: Page) -> Locator:
    return page.locator("#panel-search .result")


def ranking(page: Page) -> dict[str, float]:
    """What the cards say, in their order."""
    names, numbers = (cards(page).locator(what).all_text_contents() for what in (".name", ".number:not(.rank)"))
    return dict(zip(names, map(float, numbers), strict=True))


def filenames(request: Request) -> list[str]:
    return [name.decode() for name in re.findall(rb'filename="([^"]*)"', request.post_data_buffer or b"")]


NOTE_SENT = """() => {
  window.sent = [];
  const { fetch } = window;
  window.fetch = (url, options) => {
    if (String(url).includes("embed/images")) {
      for (const [, value] of options.body) if (value instanceof Blob) window.sent.push(value.name);
    }
    return fetch(url, options);
  };
}"""
"""Not by Playwright's requests: those leave out files that the browser keeps on disk."""


def note_sent_pages(page: Page) -> Callable[[], list[str]]:
    """Filenames that are sent to be embedded from now on."""
    page.evaluate(NOTE_SENT)
    return lambda: page.evaluate("window.sent")


def expected_ranking(server: Server, query: str, *files: Path) -> dict[str, float]:
    """MaxSim by hand."""
    with server.client() as client:
        sent = [("files", (file.name, file.read_bytes())) for file in files]
        images = client.post("/embed/images", params={"model": MODEL}, files=sent).raise_for_status().json()
        body = {"queries": [query], "model": MODEL}
        rows = np.array(client.post("/embed/queries", json=body).raise_for_status().json()["embeddings"][0])
    names = (
        f"{files[each['file']].name}, page {each['page']}" if "page" in each else files[index].name
        for index, each in enumerate(images["embeddings"])
    )
    scores = [float((rows @ np.array(each["embedding"]).T).max(axis=1).sum()) for each in images["embeddings"]]
    return dict(sorted(zip(names, scores, strict=True), key=lambda item: -item[1]))


def test_pages_are_ranked_by_maxsim(open_panel: OpenPanel, playground_server: Server) -> None:
    page = open_panel("search")
    take_examples(page)
    expect(page.get_by_text("Best of 10 pages: weather.png")).to_be_visible()
    files = [*sorted(PAGES.glob("*.png")), REPO / "examples" / "report.pdf"]
    expected = expected_ranking(playground_server, "winter storm", *files)
    found = ranking(page)
    assert found == pytest.approx(expected, abs=SCORE)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert list(found)[:2] == ["weather.png", "report.pdf, page 1"]
    assert_accessible(page)
    assert_fits(page)


WORDS = {
    "advert": "house for sale", "garden": "flowers", "leaflet": "fever", "manual": "rubber",
    "poster": "dance", "recipe": "flour, butter and eggs", "timetable": "train ticket", "weather": "snow and ice",
}  # fmt: skip


def test_each_example_page_can_be_found(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    take_examples(page)
    assert sorted(WORDS) == sorted(path.stem for path in PAGES.glob("*.png"))
    for name, words in WORDS.items():
        search(page, words)
        expect(page.get_by_text(f"Best of 10 pages: {name}.png")).to_be_visible()


def test_another_query_embeds_the_query_alone(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    sent = note_sent_pages(page)
    take_examples(page)
    assert len(sent()) == len(set(sent())) == N_EXAMPLES
    search(page, "bread")
    expect(page.get_by_text("Best of 10 pages: recipe.png")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Comparing 10 pages took \d+ ms in this browser"))).to_be_visible()
    search(page, "winter storm")
    expect(page.get_by_text("Best of 10 pages: weather.png")).to_be_visible()
    # The same pages again are taken once.
    page.get_by_role("button", name="Take the example pages").click()
    expect(page.get_by_text("Reading")).to_have_count(0)
    expect(cards(page)).to_have_count(N_EXAMPLES)
    assert len(sent()) == N_EXAMPLES


def test_a_click_opens_the_map_and_the_next_ones_ask_the_server_nothing(
    open_panel: OpenPanel, playground_server: Server
) -> None:
    page = open_panel("search")
    take_examples(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    cards(page).first.click()
    match = page.get_by_role("region", name="The page that was chosen")
    expect(match.get_by_role("heading", name="weather.png")).to_be_focused()
    expect(match.get_by_text("Number 1 of 10, MaxSim 1")).to_be_visible()
    chips = match.get_by_role("radio")
    expect(chips).to_have_count(3)
    assert shown_maps(match) == pytest.approx(best_of_interpret(playground_server, "weather.png"), abs=0.002)
    assert_accessible(page)
    assert asked.count("interpret") == 1
    asked.clear()
    cards(page).filter(has_text="leaflet.png").click()
    expect(match.get_by_role("heading", name="leaflet.png")).to_be_visible()
    expected = best_of_interpret(playground_server, "leaflet.png")
    expect(chips.nth(1)).to_contain_text(f"{expected['winter']:.2f}")
    assert shown_maps(match) == pytest.approx(expected, abs=0.002)
    assert [name for name in asked if not name.startswith("blob:") and "-" not in name] == []
    match.get_by_role("button", name="Close").click()
    expect(match).to_be_hidden()
    expect(cards(page).filter(has_text="leaflet.png")).to_be_focused()


def shown_maps(match: Locator) -> dict[str, float]:
    """Each token's highest patch, as its map's first hotspot says it."""
    found = {}
    for chip in match.get_by_role("radio").all()[1:]:
        chip.click()
        token = re.sub(r"[\d.\s-]+$", "", chip.inner_text()).strip("·")
        found[token] = float(match.locator(".spots .number").first.inner_text())
    return found


def best_of_interpret(server: Server, name: str) -> dict[str, float]:
    with server.client() as client:
        form = {"query": "winter storm", "model": MODEL}
        answer = client.post("/interpret", data=form, files={"file": (PAGES / name).read_bytes()}).raise_for_status()
    maps = answer.json()["similarity_maps"]
    return {one["token"].strip("Ġ▁ "): float(np.max(one["similarity_map"])) for one in maps}


def test_keyboard_alone(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    page.locator("#panel-search input[type=file]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("10 of 10 embedded")).to_be_visible()
    page.get_by_role("searchbox", name="Query").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("train ticket")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Best of 10 pages: timetable.png")).to_be_visible()
    for _ in range(3):  # Search, the snippet's summary, the best page
        page.keyboard.press("Tab")
    expect(cards(page).first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="timetable.png")).to_be_focused()
    page.get_by_role("radio", name="All tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="train")).to_have_attribute("aria-checked", "true")
    page.get_by_role("button", name="Remove garden.png").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("9 of 9 embedded")).to_be_visible()
    assert page.evaluate("document.activeElement.className") == "result"


def test_the_other_model_embeds_anew_and_vectors_of_both_are_kept(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    take_examples(page)
    sent = note_sent_pages(page)
    model = page.locator("#panel-search").get_by_label("Model")
    model.select_option(OTHER)
    expect(page.get_by_text(f"10 of 10 embedded with {OTHER}")).to_be_visible()
    expect(page.get_by_text("Best of 10 pages: weather.png")).to_be_visible()
    assert len(sent()) == N_EXAMPLES
    model.select_option(MODEL)
    expect(page.get_by_text(f"10 of 10 embedded with {MODEL}")).to_be_visible()
    search(page, "bread")
    expect(page.get_by_text("Best of 10 pages: recipe.png")).to_be_visible()
    assert len(sent()) == N_EXAMPLES


def test_embedding_can_be_stopped_and_goes_on_while_one_searches(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/embed/images*", hold)
    page.get_by_role("button", name="Take the example pages").click()
    expect(cards(page)).to_have_count(N_EXAMPLES)
    expect(page.get_by_text("0 of 10 embedded")).to_be_visible()
    # The page is there before it is embedded.
    cards(page).first.click()
    expect(page.get_by_text("Not embedded yet: the map follows.")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    assert len(held) == 1
    page.unroute("**/embed/images*")
    sent = note_sent_pages(page)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("radio", name="storm")).to_be_visible()
    expect(page.get_by_text("10 of 10 embedded")).to_be_visible()
    expect(page.get_by_text("Best of 10 pages: weather.png")).to_be_visible()
    assert len(sent()) == len(set(sent())) == N_EXAMPLES


def png(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG")
    return file.getvalue()


def upload(page: Page, *files: FilePayload) -> None:
    page.locator("#panel-search input[type=file]").set_input_files(files)


def picture(name: str, data: bytes | None = None) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": (PAGES / name).read_bytes() if data is None else data}


def test_a_bad_page_is_named_in_the_servers_words_and_spoils_no_other(
    open_panel: OpenPanel, playground_server: Server
) -> None:
    page = open_panel("search")
    thin, torn = png(4000, 4), b"\x89PNG, but torn"
    with playground_server.client() as client:
        words = client.post("/embed/images", params={"model": MODEL}, files={"files": ("thin.png", thin)})
        torn_words = client.post("/pages", files={"file": ("torn.png", torn)})
    assert (words.status_code, torn_words.status_code) == (400, 400)
    upload(page, picture("garden.png"), picture("torn.png", torn), picture("thin.png", thin), picture("weather.png"))
    expect(page.get_by_text("2 of 3 embedded with colqwen2.5-starter, 1 failed")).to_be_visible()
    problems = page.locator("#panel-search .problems li")
    expect(problems).to_have_count(2)
    expect(problems.nth(0)).to_contain_text(f"torn.png: {torn_words.json()['detail']}")
    expect(problems.nth(1)).to_contain_text(f"thin.png: {words.json()['detail']}")
    expect(page.get_by_text("Best of 2 pages: weather.png")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Remove thin.png").click()
    expect(problems).to_have_count(1)
    page.get_by_role("button", name="Remove all").click()
    expect(problems).to_have_count(0)
    expect(cards(page)).to_have_count(0)
    expect(page.get_by_text("Best of")).to_be_hidden()
    expect(page.get_by_role("button", name="Take the example pages")).to_be_focused()


def test_one_bad_page_among_several_in_a_request(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    sizes: list[int] = []

    def answer(route: Route) -> None:
        names = filenames(route.request)
        sizes.append(len(names))
        if "3.png" in names:
            route.fulfill(status=400, json={"detail": "File 3.png is bad."})
        else:
            route.fulfill(json={"embeddings": [embedding(np.eye(4, dtype=np.float16)) for _ in names]})

    page.route("**/embed/images*", answer)
    upload(page, *(picture(f"{number}.png", png(40, 40)) for number in range(8)))
    expect(page.get_by_text("7 of 8 embedded")).to_be_visible()
    expect(page.locator("#panel-search .problems li")).to_have_text("3.png: File 3.png is bad. ")
    # Each once, and again alone after it went with the bad one.
    assert sum(sizes) >= 8
    assert sizes[0] == 1


def test_an_error_of_the_server_stops_it_until_one_goes_on(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    page.route("**/embed/images*", lambda route: route.fulfill(status=503, json={"detail": "Too busy; try again."}))
    page.get_by_role("button", name="Take the example pages").click()
    expect(page.locator("#panel-search").get_by_role("alert").filter(has_text="Too busy; try again.")).to_be_visible()
    expect(cards(page)).to_have_count(N_EXAMPLES)
    page.unroute("**/embed/images*")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("10 of 10 embedded")).to_be_visible()
    expect(page.get_by_text("Too busy; try again.")).to_be_hidden()


def test_a_query_that_has_no_map_says_why(open_panel: OpenPanel, playground_server: Server) -> None:
    page = open_panel("search")
    upload(page, picture("garden.png"))
    search(page, "tree " * 1500)
    expect(page.get_by_text("Best of 1 page: garden.png")).to_be_visible()
    cards(page).first.click()
    error = page.get_by_role("region", name="The page that was chosen").get_by_role("alert")
    expect(error).to_contain_text("has more than 1024 tokens")
    search(page, "   ")
    expect(page.get_by_text("no score yet")).to_be_visible()
    search(page, "tree")
    expect(page.get_by_role("radio", name="tree")).to_be_visible()
    expect(error).to_be_hidden()


def test_the_query_of_a_server_that_fails_shows_its_words(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    upload(page, picture("garden.png"))
    expect(page.get_by_text("Best of 1 page: garden.png")).to_be_visible()
    page.route("**/embed/queries", lambda route: route.abort())
    search(page, "tree")
    expect(page.get_by_text("The server cannot be reached. Is it still running?")).to_be_visible()
    expect(page.get_by_text("no score yet")).to_be_visible()


def test_the_same_with_curl(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    take_examples(page)
    cards(page).filter(has_text="report.pdf, page 2").click()
    expect(page.get_by_role("radio", name="storm")).to_be_visible()
    panel = page.locator("#panel-search")
    panel.get_by_text("The same with curl or Python").click()
    shown = panel.locator(".snippet code")
    for part in ("files=@report.pdf", "files=@weather.png", '"queries":["winter storm"]', "page=2"):
        expect(shown).to_contain_text(part)
    assert shown.inner_text().count("report.pdf") == 2


def test_phone(phone: BrowserContext, open_panel: OpenPanel) -> None:
    page = open_panel("search")
    take_examples(page)
    assert_fits(page)
    cards(page).first.click()
    expect(page.get_by_role("radio", name="storm")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)


def test_files_are_dropped_and_pasted(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    page.evaluate(
        """async () => {
          const transfer = new DataTransfer();
          for (const name of ["garden.png", "recipe.png"]) {
            const blob = await (await fetch(`playground/examples/pages/${name}`)).blob();
            transfer.items.add(new File([blob], name, { type: "image/png" }));
          }
          const zone = document.querySelector("#panel-search .zone");
          zone.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
          const other = new DataTransfer();
          other.items.add(new File([await (await fetch("playground/examples/pages/weather.png")).blob()], "weather.png",
            { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: other, bubbles: true }));
        }"""
    )
    expect(page.get_by_text("3 of 3 embedded")).to_be_visible()
    expect(page.get_by_text("Best of 3 pages: weather.png")).to_be_visible()


def test_folders_give_their_pictures_and_pdfs(open_panel: OpenPanel) -> None:
    page = open_panel("search")
    names = page.evaluate(
        """async () => {
          const { droppedFiles } = await import("./playground/lib/folders.js");
          const file = (name, type) => (
            { name, isDirectory: false, file: (done) => done(new File(["x"], name, { type })) });
          const folder = (name, ...entries) => ({ name, isDirectory: true, createReader: () => {
            const rest = [...entries];
            return { readEntries: (done) => done(rest.splice(0, 2)) };
          } });
          const top = folder("scans", file("10.png", "image/png"), file("2.pdf", "application/pdf"),
            file("notes.txt", "text/plain"), folder("more", file("1.jpg", "image/jpeg")));
          const items = [top, file("single.tiff", "image/tiff")].map((entry) => ({ webkitGetAsEntry: () => entry }));
          return (await droppedFiles({ files: [], items })).map(({ name }) => name);
        }"""
    )
    assert names == ["2.pdf", "10.png", "1.jpg", "single.tiff"]


def embedding(rows: np.ndarray) -> dict[str, Any]:
    """As /embed/images writes it: all rows but the first two are patches, in two columns."""
    data = {"data": base64.b64encode(rows.tobytes()).decode(), "dtype": rows.dtype.name, "shape": rows.shape}
    n_patches = len(rows) - 2
    return {
        "embedding": data,
        "image_patch_start": 2,
        "image_patch_len": n_patches,
        "image_patch_indices": list(range(2, len(rows))),
        "n_patches_x": 2,
        "n_patches_y": n_patches // 2,
    }


def test_two_hundred_pages(open_panel: OpenPanel) -> None:
    """With vectors that the test makes up, so that it takes seconds and not minutes."""
    n_pages, dim = 200, 128
    random = np.random.default_rng(1)
    vectors = {f"{n}.png": random.normal(0, 0.1, (770, dim)).astype(np.float16) for n in range(n_pages)}
    queries = random.normal(0, 0.1, (2, 11, dim)).astype(np.float32)
    sent: list[str] = []
    held: list[Route] = []
    holding = True

    def fulfill(route: Route) -> None:
        names = filenames(route.request)
        sent.extend(names)
        route.fulfill(body=json.dumps({"embeddings": [embedding(vectors[name]) for name in names]}))

    def embed_images(route: Route) -> None:
        # At the middle it waits until the test has searched.
        if holding and len(sent) >= n_pages // 2:
            held.append(route)
        else:
            fulfill(route)

    def embed_queries(route: Route) -> None:
        (text,) = route.request.post_data_json["queries"]
        data = queries[int(text)]
        vector = {"data": base64.b64encode(data.tobytes()).decode(), "dtype": "float32", "shape": data.shape}
        route.fulfill(json={"embeddings": [vector]})

    page = open_panel("search")
    page.route("**/embed/images*", embed_images)
    page.route("**/embed/queries", embed_queries)
    search(page, "0")
    upload(page, *(picture(f"{n}.png", png(60, 80)) for n in range(n_pages)))
    expect(page.get_by_text("Show more of the 200 pages")).to_be_visible()
    page.wait_for_function("() => document.querySelector('#panel-search progress').value >= 100")

    search(page, "1")
    best = page.locator("#panel-search .best")
    first = max_sims(queries[1], {name: vectors[name] for name in sent})
    expect(best).to_have_text(f"Best of {len(sent)} pages: {next(iter(first))}")
    holding = False
    for route in held:
        fulfill(route)
    expect(page.get_by_text("200 of 200 embedded")).to_be_visible()
    expected = max_sims(queries[1], vectors)
    expect(best).to_have_text(f"Best of 200 pages: {next(iter(expected))}")
    assert sorted(sent) == sorted(vectors)
    assert ranking(page) == pytest.approx(expected, abs=SCORE)

    expect(cards(page).locator("visible=true")).to_have_count(24)
    page.get_by_role("button", name="Show more of the 200 pages").click()
    expect(cards(page).locator("visible=true")).to_have_count(48)
    search(page, "0")
    expected = max_sims(queries[0], vectors)
    expect(best).to_have_text(f"Best of 200 pages: {next(iter(expected))}")
    expect(page.get_by_text("Comparing 200 pages took")).to_be_visible()
    assert list(ranking(page)) == list(expected)
    assert len(sent) == n_pages


def max_sims(query: np.ndarray, pages: dict[str, np.ndarray]) -> dict[str, float]:
    scores = {name: float((query @ rows.astype(np.float32).T).max(axis=1).sum()) for name, rows in pages.items()}
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
