"""What all panels share: tabs, the API key, errors, headers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import REPO, Server, running_server
from tests.e2e.playground.conftest import assert_accessible, assert_fits

OpenPanel = Callable[[str], Page]
PANELS = ("page", "search", "text", "pictures", "map", "models")


@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_opens_and_is_accessible(open_panel: OpenPanel, panel: str) -> None:
    page = open_panel(panel)
    expect(page.locator(f"#panel-{panel} .lead")).to_be_visible()
    assert_accessible(page)


@pytest.mark.usefixtures("phone")
@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_fits_a_phone(open_panel: OpenPanel, panel: str) -> None:
    page = open_panel(panel)
    expect(page.locator(f"#panel-{panel} .lead")).to_be_visible()
    assert_fits(page)


def test_tabs_are_walked_through_with_the_arrow_keys(open_panel: OpenPanel) -> None:
    page = open_panel("page")
    page.get_by_role("tab", name="Page and query").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Search pages")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#panel-search")).to_be_visible()
    expect(page.locator("#panel-page")).to_be_hidden()


def test_the_page_asks_no_other_host_and_is_checked_for_newer_versions(playground_server: Server) -> None:
    with playground_server.client() as client:
        for path in ("/playground", "/playground/main.js", "/playground/examples/page.png"):
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            assert answer.headers["Cache-Control"] == "no-cache"
        assert client.get("/playground/main.js", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 200
        again = client.get("/playground/examples/page.png", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
        assert client.get("/").json()["playground"] == "/playground"
        assert client.get("/playground/", follow_redirects=False).headers["Location"] == "../playground"
        assert client.get("/playground/nothing.js").status_code == 404


@pytest.fixture
def keyed_server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path, API_KEY="open sesame", MODELS_FILE=str(REPO / "starter.toml")) as server:
        yield server


def test_the_api_key_is_asked_for_and_kept_for_the_tab_only(context: BrowserContext, keyed_server: Server) -> None:
    page = context.new_page()
    page.goto(f"{keyed_server.url}/playground#text")
    expect(page.locator("#panel-text select").first).to_contain_text("Send the API key")
    page.get_by_label("API key").fill("open sesame")
    page.get_by_label("API key").press("Enter")
    expect(page.locator("#panel-text select").first).to_contain_text("e5-starter")
    page.reload()
    expect(page.locator("#panel-text select").first).to_contain_text("e5-starter")
    other = context.new_page()
    other.goto(f"{keyed_server.url}/playground#text")
    expect(other.get_by_label("API key")).to_have_value("")
