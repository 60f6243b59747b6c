"""Texts: similarity, hybrid vectors, reranking."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, Route, expect

from tests.e2e.conftest import Server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]

QUERIES = ["Where do ships take shore power?", "When does the ferry leave?"]
PASSAGES = ["The ferry leaves at noon.", "Ships plug into shore power.", "Bread is baked before dawn."]
CANDIDATES = [
    "Bread is baked before dawn.",
    "The ferry left at noon.",
    "Ships take shore power.",
    "The ferry left at noon.",
]
TOO_LONG = "harbour " * 60_000
BUTTONS = {"similarity": "Compare", "hybrid": "Look inside", "rerank": "Rerank"}
HIGHEST = "\u2605"
OVER = re.compile("^(Compared|Ranked)")
"""What is said when a run is over."""


def open_mode(open_panel: OpenPanel, mode: str) -> Locator:
    page = open_panel("text")
    page.get_by_role("tab", name=mode.capitalize(), exact=True).click()
    part = page.locator(f"#text-{mode}")
    expect(part.get_by_label("Model")).to_have_value(re.compile("starter"))
    return part


def start(part: Locator, **texts: str | list[str]) -> None:
    """Fill in the fields with these labels and press the button."""
    for label, text in texts.items():
        part.get_by_label(label, exact=True).fill(text if isinstance(text, str) else "\n".join(text))
    part.locator("button.primary").click()


def run(part: Locator, **texts: str | list[str]) -> None:
    start(part, **texts)
    expect(part.locator(".busy")).to_have_text(OVER)


def numbers(cells: Locator) -> list[float]:
    return [number(text) for text in cells.all_inner_texts()]


def number(text: str) -> float:
    return float(text.replace(HIGHEST, "").replace("\u2212", "-"))


def matrix(table: Locator) -> np.ndarray:
    """The numbers of a coloured table, without the column of the highest: [n_rows, n_columns]."""
    return np.array([numbers(row.locator("td:not(.most)")) for row in table.locator("tbody tr").all()])


def vectors(server: Server, texts: list[str], *, is_query: bool, model: str = "e5-starter") -> np.ndarray:
    with server.client() as client:
        body = {"items": texts, "is_query": is_query, "model": model}
        return np.array(client.post("/vectorize-batch", json=body).json()["vectors"])


def hybrid_vectors(server: Server, texts: list[str]) -> list[dict[str, dict[str, float]]]:
    with server.client() as client:
        body = {"items": texts, "model": "bge-m3-starter"}
        vectors: list[dict[str, dict[str, float]]] = client.post("/vectorize-batch-hybrid", json=body).json()[
            "hybrid_vectors"
        ]
        return vectors


def scores(server: Server, query: str, candidates: list[str], model: str = "bge-m3-starter") -> list[float]:
    with server.client() as client:
        body = {"query": query, "candidates": candidates, "model": model}
        found: list[float] = client.post("/rerank", json=body).json()["scores"]
        return found


def test_similarity_shows_the_cosine_of_each_pair(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "similarity")
    run(part, Queries=QUERIES, Passages=PASSAGES)
    table = part.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(PASSAGES)
    expect(table.get_by_role("rowheader")).to_have_text(QUERIES)
    queries = vectors(playground_server, QUERIES, is_query=True)
    passages = vectors(playground_server, PASSAGES, is_query=False)
    np.testing.assert_allclose(matrix(table), queries @ passages.T, atol=0.006)
    best = [row.locator("td").filter(has_text=HIGHEST).count() for row in table.locator("tbody tr").all()]
    assert best == [1, 1]
    assert np.argmax(matrix(table), axis=1).tolist() == [1, 0]
    # Marked by more than a colour, and the colours differ.
    marked = table.locator("tbody tr").first.locator("td").nth(1)
    expect(marked.get_by_label("highest of the row")).to_be_visible()
    colors = table.locator("tbody td").evaluate_all("cells => cells.map(cell => cell.style.background)")
    assert len(set(colors)) > 3


def test_both_sides_may_be_passages(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "similarity")
    asked: list[bool] = []

    def note(request: Request) -> None:
        if "vectorize" in request.url:
            asked.append(request.post_data_json["is_query"])

    part.page.on("request", note)
    run(part, Queries=PASSAGES, Passages=PASSAGES)
    assert asked == [True, False]
    table = part.get_by_role("table")
    expect(table).to_contain_text("queries")
    part.get_by_role("checkbox").check()
    expect(table).not_to_contain_text("queries")
    # They have vectors as passages already.
    assert asked == [True, False]
    passages = vectors(playground_server, PASSAGES, is_query=False)
    np.testing.assert_allclose(matrix(table), passages @ passages.T, atol=0.006)


def test_another_model_compares_the_same_sentences(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "similarity")
    run(part, Queries=QUERIES, Passages=PASSAGES)
    expect(part.get_by_role("table")).to_be_visible()
    part.get_by_label("Model").select_option("bge-m3-starter")
    expected = (
        vectors(playground_server, QUERIES, is_query=True, model="bge-m3-starter")
        @ vectors(playground_server, PASSAGES, is_query=False, model="bge-m3-starter").T
    )
    expect(part.locator("tbody td").first).to_contain_text(f"{expected[0, 0]:.2f}")
    np.testing.assert_allclose(matrix(part.get_by_role("table")), expected, atol=0.006)


def test_many_sentences_go_in_small_requests_can_be_stopped_and_are_embedded_once(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "similarity")
    asked: list[list[str]] = []

    def hold_the_second(route: Route) -> None:
        asked.append(route.request.post_data_json["items"])
        if len(asked) != 2:
            route.continue_()

    part.page.route("**/vectorize-batch", hold_the_second)
    sentences = [f"Quay {number} is free." for number in range(40)]
    start(part, Queries=[*sentences, *sentences], Passages="A quay.")
    expect(part.get_by_role("progressbar")).to_have_js_property("value", 32)
    part.get_by_role("button", name="Stop").click()
    expect(part.get_by_role("progressbar")).to_be_hidden()
    run(part)
    expect(part.locator("tbody tr")).to_have_count(80)
    expect(part.get_by_role("progressbar")).to_be_hidden()
    assert asked == [sentences[:32], sentences[32:], sentences[32:], ["A quay."]]


def test_texts_that_were_cut_are_counted(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "similarity")
    run(part, Queries="ferry", Passages=["ferry", "ferry " * 3000])
    expect(part.get_by_text("1 text is longer than the model reads; its end was left out.")).to_be_visible()


def test_hybrid_shows_dense_sparse_and_colbert(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "hybrid")
    query, passage = "Where do ships take power?", "Ships in Skagen take shore power."
    run(part, Query=query, Passage=passage)
    dense, sparse, colbert = numbers(part.locator("dd.number"))

    left, right = vectors(playground_server, [query, passage], is_query=False, model="bge-m3-starter")
    assert dense == pytest.approx(left @ right, abs=0.001)
    weights, others = (vector["sparse"] for vector in hybrid_vectors(playground_server, [query, passage]))
    products = {token: weight * others[token] for token, weight in weights.items() if token in others}
    assert sparse == pytest.approx(sum(products.values()), abs=0.001)
    assert colbert == pytest.approx(scores(playground_server, query, [passage])[0], abs=0.001)

    table = part.locator("table.contributions")
    shown = [cells.locator("td").nth(2) for cells in table.locator("tbody tr").all()]
    assert [number(cell.inner_text()) for cell in shown] == pytest.approx(
        sorted(products.values(), reverse=True), abs=0.001
    )
    # The words as they are written, each token with its weight.
    words = part.locator(".weighted").first.locator(".token > :first-child").all_inner_texts()
    assert "".join(words).replace("\u00b7", "") == query.replace(" ", "")
    take = part.locator(".weighted").first.locator(".token", has_text="take")
    assert number(take.locator("small").inner_text()) == pytest.approx(weights["take"], abs=0.006)
    expect(take).to_have_class(re.compile("shared"))
    expect(part.locator(".weighted").first.locator(".token", has_text="where")).not_to_have_class(re.compile("shared"))


def test_the_alignment_names_the_tokens_and_marks_the_highest_of_each_row(
    open_panel: OpenPanel, playground_server: Server
) -> None:
    part = open_mode(open_panel, "hybrid")
    run(part, Query="Take power", Passage="Ships take power")
    table = part.locator("table.colors")
    expect(table.locator("tbody th")).to_have_text(["\u00b7Take", "\u00b7power", "(end)"])
    expect(table.locator("thead th")).to_have_text(["\u00b7Ship", "s", "\u00b7take", "\u00b7power", "(end)", "highest"])
    values = matrix(table)
    assert values.shape == (3, 5)
    assert np.argmax(values, axis=1).tolist() == [2, 3, 4]
    for row, highest in zip(table.locator("tbody tr").all(), values.max(axis=1), strict=True):
        assert number(row.locator("td.best").inner_text()) == highest
        assert number(row.locator("td.most").inner_text()) == highest
    expected = scores(playground_server, "Take power", ["Ships take power"])[0]
    assert number(table.locator("tfoot td").inner_text()) == pytest.approx(expected, abs=0.006)


def test_texts_without_a_common_token_and_very_long_ones_are_told(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "hybrid")
    run(part, Query="ferry", Passage="Wood")
    expect(part.get_by_text("The texts share no token")).to_be_visible()
    run(part, Query="cargo " * 30, Passage="cargo " * 1500)
    expect(part.get_by_text("tokens are more than this table shows")).to_be_visible()
    expect(part.locator("dd.number").last).to_have_text("\u2013")


def test_rerank_shows_both_orders_with_scores(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "rerank")
    run(part, Query="ships and shore power", Candidates=CANDIDATES)
    before, after = part.get_by_role("list").all()
    expect(before.get_by_role("listitem")).to_have_text(CANDIDATES)
    # Two of them are one text, which is asked about once.
    texts = list(dict.fromkeys(CANDIDATES))
    by_text = dict(zip(texts, scores(playground_server, "ships and shore power", texts), strict=True))
    found = [by_text[text] for text in CANDIDATES]
    # Highest first; the two that are alike keep their order.
    order = sorted(range(4), key=lambda index: -found[index])
    assert order[0] == 2
    items = after.get_by_role("listitem")
    expect(items).to_have_text([re.compile(re.escape(CANDIDATES[index])) for index in order])
    assert numbers(items.locator(".number")) == pytest.approx([found[index] for index in order], abs=0.001)
    assert items.evaluate_all("items => items.map(item => Number(item.dataset.item))") == order
    expect(items.first).to_contain_text("up 2 from place 3")
    fallen = next(place for place, index in enumerate(order) if place > index)
    expect(items.nth(fallen)).to_contain_text(f"down {fallen - order[fallen]} from place {order[fallen] + 1}")
    widths = items.locator(".measure").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0]


def test_lines_lead_from_each_candidate_to_its_new_place(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "rerank")
    run(part, Query="ships and shore power", Candidates=CANDIDATES)
    paths = part.locator("svg path")
    expect(paths).to_have_count(4)
    part.get_by_role("list").last.get_by_role("listitem").first.hover()
    lit = part.locator("path.lit")
    expect(lit).to_have_count(1)
    expect(part.locator("li.lit")).to_have_text([CANDIDATES[2], re.compile(re.escape(CANDIDATES[2]))])
    # It ends beside the first of the list on the right, where nothing but the line itself can tell.
    ends = part.locator(".ranking").evaluate(
        """node => {
            const line = node.querySelector('path.lit').getBoundingClientRect();
            const [left, right] = [...node.querySelectorAll('li.lit')].map(item => item.getBoundingClientRect());
            const middle = box => box.top + box.height / 2;
            return [line.bottom - middle(left), line.top - middle(right)];
        }"""
    )
    assert ends == pytest.approx([0, 0], abs=2)


def test_page_models_rerank_too(open_panel: OpenPanel, playground_server: Server) -> None:
    part = open_mode(open_panel, "rerank")
    expect(part.get_by_label("Model")).to_have_value("bge-m3-starter")
    part.get_by_label("Model").select_option("colqwen2.5-starter")
    run(part, Query="ships and shore power", Candidates=CANDIDATES)
    found = scores(playground_server, "ships and shore power", CANDIDATES, model="colqwen2.5-starter")
    expect(part.locator("ol").last.locator(".number").first).to_have_text(f"{max(found):.3f}")


def test_the_examples_come_out_right(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "similarity")
    for model in ("e5-starter", "bge-m3-starter"):
        part.get_by_label("Model").select_option(model)
        run(part)
        expect(part.get_by_text("Compared 4 \u00d7 5 sentences.")).to_be_visible()
        assert np.argmax(matrix(part.get_by_role("table")), axis=1).tolist() == [0, 1, 2, 3]
    part = open_mode(open_panel, "rerank")
    run(part)
    places = part.locator("ol").last.locator("li")
    expect(places.nth(0)).to_contain_text("shore power")
    expect(places.nth(1)).to_contain_text("power from the shore")
    expect(places.last).to_contain_text("Bread")


def test_texts_and_results_stay_when_the_mode_changes(open_panel: OpenPanel) -> None:
    part = open_mode(open_panel, "similarity")
    page = part.page
    run(part, Queries="my own sentence")
    expect(part.get_by_role("table")).to_be_visible()
    page.get_by_role("tab", name="Rerank").click()
    expect(part).to_be_hidden()
    page.get_by_role("tab", name="Map").click()
    page.get_by_role("tab", name="Text", exact=True).click()
    expect(page.locator("#text-rerank")).to_be_visible()
    page.get_by_role("tab", name="Similarity").click()
    expect(part.get_by_label("Queries")).to_have_value("my own sentence")
    expect(part.get_by_role("table")).to_be_visible()
    page.reload()
    expect(page.locator("#text-similarity")).to_be_visible()


@pytest.mark.parametrize(
    ("mode", "texts", "message"),
    [
        ("similarity", {"Queries": " \n"}, "Write at least one sentence on each side."),
        ("similarity", {"Queries": ["a"] * 150, "Passages": ["b"] * 150}, "150 \u00d7 150 sentences are more than"),
        ("similarity", {"Queries": TOO_LONG}, "longer than the limit of 400000 characters"),
        ("hybrid", {"Passage": ""}, "Write a query and a passage."),
        ("hybrid", {"Passage": TOO_LONG}, "longer than the limit of 400000 characters"),
        ("rerank", {"Query": ""}, "Write a query."),
        ("rerank", {"Candidates": "\n"}, "Write at least one candidate."),
        ("rerank", {"Candidates": TOO_LONG}, "longer than the limit of 400000 characters"),
    ],
)
def test_errors_are_shown_where_they_happened(
    open_panel: OpenPanel, mode: str, texts: dict[str, str], message: str
) -> None:
    part = open_mode(open_panel, mode)
    run(part)
    result = part.locator(".legend, .ranking").first
    expect(result).to_be_visible()
    start(part, **texts)
    expect(part.get_by_role("alert")).to_contain_text(message)
    # What belongs to other texts is not shown beside it.
    expect(result).to_be_hidden()
    expect(part.locator("form").get_by_role("alert")).to_be_visible()


def test_user_text_is_only_ever_text(open_panel: OpenPanel) -> None:
    hostile = "<img src=x onerror=alert(1)> ships"
    for mode, texts, shown in (
        ("similarity", {"Queries": hostile, "Passages": hostile}, ".colors th"),
        ("hybrid", {"Query": hostile, "Passage": hostile}, ".weighted"),
        ("rerank", {"Query": hostile, "Candidates": hostile}, "ol li"),
    ):
        part = open_mode(open_panel, mode)
        run(part, **texts)
        expect(part.locator(shown).first).to_contain_text("<")
        expect(part.locator("img[src=x]")).to_have_count(0)


@pytest.mark.parametrize(
    ("mode", "route"), [("similarity", "vectorize-batch"), ("hybrid", "vectorize-batch-hybrid"), ("rerank", "rerank")]
)
def test_the_call_is_shown_as_curl_and_python(open_panel: OpenPanel, mode: str, route: str) -> None:
    part = open_mode(open_panel, mode)
    run(part)
    part.get_by_text("The same with curl or Python").click()
    code = part.locator("code")
    expect(code).to_contain_text(f"/{route}'")
    expect(code).to_contain_text("curl -X POST")
    part.get_by_role("button", name="Python").click()
    expect(code).to_contain_text("import httpx")
    expect(code).to_contain_text(f'/{route}"')


def test_by_keyboard_only(open_panel: OpenPanel) -> None:
    page = open_panel("text")
    expect(page.locator("#text-rerank").get_by_label("Model")).to_have_value("bge-m3-starter")
    page.get_by_role("tab", name="Similarity").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#text-rerank")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#text-rerank").get_by_label("Query")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("when did the ferry leave")
    page.keyboard.press("Enter")
    expect(page.locator("#text-rerank ol").last.locator("li").first).to_contain_text("The ferry left")
    page.get_by_role("tab", name="Rerank").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#text-hybrid")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Look inside")).to_be_focused()
    page.keyboard.press("Space")
    # The wide table can be reached and scrolled.
    region = page.get_by_role("region", name="The cosine of each token")
    expect(region).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(region).to_be_focused()


@pytest.mark.parametrize("mode", BUTTONS)
def test_results_are_accessible(open_panel: OpenPanel, mode: str) -> None:
    part = open_mode(open_panel, mode)
    part.get_by_role("button", name=BUTTONS[mode]).click()
    expect(part.locator(".legend, .ranking").first).to_be_visible()
    assert_accessible(part.page)
    part.page.emulate_media(color_scheme="dark")
    assert_accessible(part.page)


@pytest.mark.parametrize("mode", BUTTONS)
def test_results_fit_a_phone(phone: BrowserContext, open_panel: OpenPanel, mode: str) -> None:
    part = open_mode(open_panel, mode)
    part.get_by_role("button", name=BUTTONS[mode]).click()
    expect(part.locator(".legend, .ranking").first).to_be_visible()
    assert_fits(part.page)
    wide = {"similarity": "Queries", "hybrid": "Passage", "rerank": "Candidates"}[mode]
    run(part, **{wide: "w" * 120})
    assert_fits(part.page)
