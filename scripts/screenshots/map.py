"""Panel map."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    page.locator("#panel-map .lead").wait_for()
