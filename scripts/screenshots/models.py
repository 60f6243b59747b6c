"""Panel models."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    page.locator("#panel-models .lead").wait_for()
