"""Panel text."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    page.locator("#panel-text .lead").wait_for()
