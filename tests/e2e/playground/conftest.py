"""The playground in headless Chromium, before a real server with the starter models."""

import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from scripts.chromium import find_chromium, launch
from tests.e2e.conftest import REPO, Server, running_server

# Models are loaded when they are first needed, on a machine that may be busy.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)

SERIOUS = {"serious", "critical"}
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def playground_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the starter models, which may train: the models folder is its own."""
    folder = tmp_path_factory.mktemp("playground")
    models = folder / "models"
    shutil.copytree(REPO / "models" / "starter", models / "starter")
    with running_server(
        folder, MODELS_FILE=str(REPO / "starter.toml"), MODELS_DIR=str(models), TRAINING="true"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one module: while Playwright is at work, asyncio runs nothing else in this thread."""
    if find_chromium() is None:
        pytest.skip("no Chromium here; `make setup-dev` installs it where it may, else install the package chromium")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    viewport = PHONE if "phone" in request.fixturenames else DESKTOP
    # Without transitions, in the middle of which colours may have little contrast.
    context = browser.new_context(viewport=viewport, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def open_panel(context: BrowserContext, playground_server: Server) -> Iterator[Callable[[str], Page]]:
    """`open_panel("text")` opens that panel. At the end: nothing on the console, no request to another host."""
    problems: list[str] = []
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))

    def open_one(name: str) -> Page:
        page.goto(f"{playground_server.url}/playground#{name}")
        page.locator(f"#panel-{name}").wait_for()
        return page

    yield open_one
    # Chromium itself writes a line for every answer that is no success; the page is to show those, not to hide them.
    assert [line for line in problems if not line.startswith("Failed to load resource")] == []
    assert hosts <= {urlsplit(playground_server.url).netloc, ""}


@pytest.fixture
def phone() -> None:
    """Who asks for it gets the screen of a phone."""


def assert_accessible(page: Page) -> None:
    """No serious finding of axe."""
    found = Axe().run(page).response["violations"]
    serious = [rule for rule in found if rule["impact"] in SERIOUS]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in serious] == []


def assert_fits(page: Page) -> None:
    """The page itself does not scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
