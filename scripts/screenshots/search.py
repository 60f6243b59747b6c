"""Panel search."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    page.locator("#panel-search .lead").wait_for()
