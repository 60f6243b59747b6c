"""Panel "Models and jobs": load and unload, fine-tune, follow, try, cancel, resume, delete."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.e2e.conftest import REPO, Server, running_server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
SLOW_MS = 180_000
"""For a trainer to start and to train, on a core that others use too."""
QUERY = "what happens if otter fails"
ANSWER = "Without the water pumps nobody gets paid in time."

BROKEN = """
[[model]]
name = "lost"
family = "e5"
checkpoint = "nobody/has-this"
license = "MIT"
"""


def model(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def newest_job(page: Page, name: str) -> Locator:
    return page.locator(".job").filter(has=page.locator("summary strong", has_text=re.compile(f"^{name}$"))).first


def fill_in(page: Page, name: str, *, epochs: float, example: bool = True) -> None:
    page.get_by_label("Name of the new model").fill(name)
    if example:
        page.get_by_role("button", name="Take the example pairs").click()
        expect(page.get_by_label("epochs", exact=True)).to_have_value("20")
    page.get_by_label("epochs", exact=True).fill(str(epochs))


def start(page: Page) -> None:
    page.get_by_role("button", name="Start training").click()


def unload(server: Server, name: str) -> None:
    """Other tests may have loaded it."""
    with server.client() as client:
        client.post(f"/models/{name}/unload").raise_for_status()


def jobs_named(server: Server, name: str) -> list[str]:
    with server.client() as client:
        return [job["id"] for job in client.get("/training-jobs").json()["data"] if job["model_name"] == name]


def test_random_weights_are_called_so(context: BrowserContext, server: Server) -> None:
    page = context.new_page()
    page.goto(f"{server.url}/playground#models")
    expect(page.get_by_role("article").first).to_contain_text("Random weights")


def test_a_model_is_loaded_looked_at_and_unloaded(open_panel: OpenPanel, playground_server: Server) -> None:
    unload(playground_server, "bge-m3-starter")
    page = open_panel("models")
    expect(model(page, "e5-starter").get_by_text("Random weights")).to_be_hidden()
    bge = model(page, "bge-m3-starter")
    expect(bge.get_by_role("listitem")).to_have_text(["text: dense", "text: multi-vector", "text: sparse"])
    bge.get_by_role("button", name="Load bge-m3-starter", exact=True).click()
    expect(bge.locator(".state")).to_contain_text("ready", timeout=SLOW_MS)
    expect(bge).to_contain_text(re.compile(r"Memory\d+ MB.*Dimensions\d+.*Context[\d,]+ tokens.*float32"))
    expect(page.get_by_label("The server")).to_contain_text(re.compile(r"healthy.*cpu.*Memory of the models[1-9]"))
    bge.get_by_text("More").click()
    expect(bge).to_contain_text("Checkpointstarter/bge-m3-starter")
    page.get_by_text("The same with curl or Python").locator("visible=true").nth(1).click()
    expect(page.locator(".snippet[open] code")).to_contain_text("info?model=bge-m3-starter")
    assert_accessible(page)
    # The focus stays with the button that takes the place of the one that was pressed.
    bge.get_by_role("button", name="Unload bge-m3-starter").press("Enter")
    expect(bge.locator(".state")).to_contain_text("unloaded")
    expect(bge.get_by_role("button", name="Load bge-m3-starter", exact=True)).to_be_focused()
    expect(bge).not_to_contain_text("Memory")


def test_what_another_client_loads_is_seen(open_panel: OpenPanel, playground_server: Server) -> None:
    unload(playground_server, "dinov3-starter")
    page = open_panel("models")
    dinov3 = model(page, "dinov3-starter")
    expect(dinov3.locator(".state")).to_contain_text("unloaded")
    with playground_server.client() as client:
        client.post("/models/dinov3-starter/load").raise_for_status()
        expect(dinov3.locator(".state")).to_contain_text("ready", timeout=30_000)
        client.post("/models/dinov3-starter/unload").raise_for_status()


def test_a_job_is_started_once_followed_and_its_model_tried_and_deleted(
    open_panel: OpenPanel, playground_server: Server
) -> None:
    page = open_panel("models")
    fill_in(page, "nicknames", epochs=10)
    expect(page.get_by_text("120 pairs", exact=True)).to_be_visible()
    expect(page.get_by_role("group", name="First pairs").get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Start training").dblclick()
    job = newest_job(page, "nicknames")
    expect(job.locator(".state")).to_contain_text("running", timeout=SLOW_MS)
    expect(job).to_contain_text(re.compile(r"Step[1-9]\d* of 40.*Learning rate.*Time left"), timeout=SLOW_MS)
    expect(job.get_by_role("img", name=re.compile("Loss: from .* at step"))).to_be_visible(timeout=SLOW_MS)
    assert len(jobs_named(playground_server, "nicknames")) == 1

    expect(job.locator(".state")).to_contain_text("completed", timeout=SLOW_MS)
    expect(page.get_by_text("nicknames: completed. Served as nicknames.")).to_be_visible()
    before, after = (float(job.get_by_role("row", name="recall@1").locator("td").nth(n).inner_text()) for n in (0, 1))
    assert after > before
    expect(job.locator("summary").first).to_contain_text(f"recall@1 {before:.2f}")
    first, last = map(float, re.findall(r"(?:from|to) ([\d.e-]+)", loss_line(job)))
    assert last < first / 2

    job.get_by_label("Search for").fill(QUERY)
    job.get_by_role("button", name="Search with both").click()
    trained = job.get_by_role("region", name="Found by nicknames")
    expect(trained.get_by_role("listitem").filter(has_text="the answer")).to_contain_text(ANSWER, timeout=SLOW_MS)
    base = job.get_by_role("region", name="Found by e5-starter")
    expect(base.get_by_role("listitem")).to_have_count(3)
    expect(base).not_to_contain_text(ANSWER)
    expect(base).to_contain_text(re.compile(r"The answer comes at place \d+ of 120"))
    assert_accessible(page)

    log = job.locator("details", has_text="Log").last
    log.get_by_text("Log").click()
    expect(log.locator("pre")).to_contain_text("train_loss")
    page.reload()
    expect(job.get_by_role("img", name=re.compile("Loss: from"))).to_be_visible()
    page.get_by_role("tab", name="Text").click()
    expect(page.locator("#panel-text select").first.locator("option", has_text="nicknames")).to_be_attached()
    page.get_by_role("tab", name="Models and jobs").click()

    model(page, "nicknames").get_by_role("button", name="Delete").click()
    expect(model(page, "nicknames").get_by_role("group", name="Delete nicknames for good?")).to_be_visible()
    model(page, "nicknames").get_by_role("button", name="Keep it").click()
    model(page, "nicknames").get_by_role("button", name="Delete").click()
    model(page, "nicknames").get_by_role("button", name="Delete").click()
    expect(model(page, "nicknames")).to_have_count(0)
    job.get_by_role("button", name="Delete dataset").click()
    job.get_by_role("button", name="Delete dataset").click()
    expect(job).to_contain_text("120 pairs (deleted)")
    job.get_by_role("button", name="Delete job").click()
    job.get_by_role("button", name="Delete job").click()
    expect(job).to_have_count(0)
    assert jobs_named(playground_server, "nicknames") == []


def loss_line(job: Locator) -> str:
    return job.get_by_role("img", name=re.compile("Loss: from")).get_attribute("aria-label") or ""


def test_a_job_is_cancelled_resumed_and_forgotten_by_keyboard(open_panel: OpenPanel) -> None:
    page = open_panel("models")
    page.get_by_role("button", name="Take the example pairs").press("Enter")
    expect(page.get_by_label("Name of the new model")).to_have_value("nicknames")
    page.get_by_label("Name of the new model").fill("by-keyboard")
    page.get_by_label("epochs", exact=True).fill("500")
    page.get_by_label("epochs", exact=True).press("Enter")
    job = newest_job(page, "by-keyboard")
    expect(job).to_contain_text(re.compile(r"Step[1-9]\d* of 2000"), timeout=SLOW_MS)
    job.get_by_role("button", name="Cancel").press("Enter")
    expect(job.locator(".state")).to_contain_text("cancelled", timeout=SLOW_MS)
    expect(job.get_by_role("button", name="Resume")).to_be_focused()
    steps = int(re.findall(r"Step(\d+) of", job.inner_text().replace("\n", ""))[0])
    page.keyboard.press("Enter")
    expect(job.locator(".state")).to_contain_text("running", timeout=SLOW_MS)
    expect(job.get_by_role("button", name="Cancel")).to_be_focused()
    # From its last checkpoint, not from the beginning.
    page.wait_for_function(
        "([job, steps]) => Number(job.innerText.replaceAll('\\n', '').match(/Step(\\d+) of/)?.[1]) > steps",
        arg=[job.element_handle(), steps],
        timeout=SLOW_MS,
    )
    page.keyboard.press("Enter")
    expect(job.locator(".state")).to_contain_text("cancelled", timeout=SLOW_MS)
    job.get_by_role("button", name="Delete job").press("Enter")
    expect(job.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    expect(job.get_by_role("button", name="Delete job")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(job).to_have_count(0)


def test_what_cannot_be_started_is_said_in_the_form(open_panel: OpenPanel) -> None:
    page = open_panel("models")
    form = page.get_by_role("form", name="Fine-tune a model")
    fill_in(page, "Not A Name", epochs=1)
    start(page)
    expect(form.get_by_role("alert")).to_contain_text("model_name is 1 to 64 small letters")
    page.get_by_label("Name of the new model").fill("e5-starter")
    start(page)
    expect(form.get_by_role("alert")).to_contain_text("A model is served as e5-starter already")
    page.get_by_label("Name of the new model").fill("mine")
    page.get_by_label("epochs", exact=True).fill("-1")
    start(page)
    expect(form.get_by_role("alert")).to_contain_text("epochs: Input should be greater than 0")
    page.get_by_label("epochs", exact=True).fill("1")
    page.get_by_label("Or paste them here").fill("only one column")
    start(page)
    expect(form.get_by_role("alert")).to_contain_text("text_content has no training pair")
    page.get_by_label("a page model").check()
    start(page)
    expect(form.get_by_role("alert")).to_contain_text("Choose a file of queries and pages first")


def test_pairs_are_previewed_as_the_server_reads_them(open_panel: OpenPanel, tmp_path: Path) -> None:
    page = open_panel("models")
    text = page.get_by_label("Or paste them here")
    text.fill("a\tb\nno tab\n\n c \t d \r\ne\t\n")
    expect(page.get_by_text("2 pairs, 2 lines ignored")).to_be_visible()
    expect(page.get_by_text("Line 2 is ignored: 1 column, not 2.")).to_be_visible()
    expect(page.get_by_text("Line 5 is ignored: a column is empty.")).to_be_visible()
    expect(page.get_by_role("group", name="First pairs").get_by_role("cell")).to_have_text(["a", "b", "c", "d"])
    file = tmp_path / "triples.tsv"
    file.write_text("a\tb\tc\nd\te\tf\ng\th\n")
    page.get_by_label("Pairs: a file").set_input_files(file)
    expect(page.get_by_text("2 triples, 1 line ignored")).to_be_visible()
    expect(page.get_by_label("A third column")).to_be_checked()
    page.get_by_label("A third column").uncheck()
    expect(page.get_by_text("1 pair, 2 lines ignored")).to_be_visible()


def test_lora_on_a_phone(phone: BrowserContext, open_panel: OpenPanel) -> None:
    page = open_panel("models")
    fill_in(page, "by-phone", epochs=300)
    page.get_by_label("What is trained").select_option(label="LoRA: low-rank matrices only")
    page.get_by_text("More options").click()
    page.get_by_label("r", exact=True).fill("4")
    expect(page.get_by_label("lora alpha")).to_have_attribute("placeholder", "32")
    page.get_by_label("merge").check()
    assert_fits(page)
    start(page)
    job = newest_job(page, "by-phone")
    expect(job).to_contain_text("e5-starter, LoRA, 120 pairs")
    expect(job.get_by_role("img", name=re.compile("Loss: from"))).to_be_visible(timeout=SLOW_MS)
    assert_fits(page)
    assert_accessible(page)
    job.get_by_role("button", name="Cancel").click()
    expect(job.locator(".state")).to_contain_text("cancelled", timeout=SLOW_MS)


def test_a_page_model_learns_from_a_file_of_pages(open_panel: OpenPanel, tmp_path: Path) -> None:
    pairs = tmp_path / "pages.jsonl"
    lines = [
        {"query": query, "image": base64.b64encode((REPO / "examples" / name).read_bytes()).decode()}
        for query, name in (("cargo by harbour", "page.png"), ("a sailing boat", "picture.png"))
    ]
    pairs.write_text("\n".join(map(json.dumps, lines)))
    page = open_panel("models")
    page.get_by_label("a page model").check()
    expect(page.get_by_label("What is trained")).to_have_value("lora")
    expect(page.get_by_label("train heads")).to_be_hidden()
    page.get_by_label("Queries and pages").set_input_files(pairs)
    expect(page.get_by_text(re.compile("pages.jsonl, .* kB"))).to_be_visible()
    fill_in(page, "my-pages", epochs=1, example=False)
    start(page)
    job = newest_job(page, "my-pages")
    expect(job).to_contain_text("colqwen2.5-starter, LoRA, 2 pairs")
    job.get_by_role("button", name="Cancel").click()
    expect(job.locator(".state")).to_contain_text("cancelled", timeout=SLOW_MS)


@pytest.fixture
def server_without_training(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "models.toml").write_text(BROKEN)
    with running_server(tmp_path, MODELS_FILE=str(tmp_path / "models.toml")) as server:
        yield server


def test_a_load_that_fails_and_training_that_is_off_are_said(
    context: BrowserContext, server_without_training: Server
) -> None:
    page = context.new_page()
    page.goto(f"{server_without_training.url}/playground#models")
    expect(page.get_by_role("alert").filter(has_text="Fine-tuning is switched off on this server")).to_be_visible()
    expect(page.get_by_role("form", name="Fine-tune a model")).to_be_hidden()
    lost = model(page, "lost")
    lost.get_by_role("button", name="Load lost", exact=True).click()
    expect(lost.locator(".state")).to_contain_text("failed", timeout=SLOW_MS)
    expect(lost.locator(".error").locator("visible=true").first).to_contain_text("nobody/has-this")
