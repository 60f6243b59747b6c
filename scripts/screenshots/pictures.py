"""Panel pictures."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    page.locator("#panel-pictures .lead").wait_for()
