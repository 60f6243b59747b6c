"""A page with a query over it."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    panel = page.locator("#panel-page")
    panel.get_by_role("searchbox", name="Query").fill("where do ships take shore power")
    panel.get_by_role("button", name="Take the example page").click()
    panel.get_by_role("radio", name="ships").click()
    page.mouse.move(0, 0)
