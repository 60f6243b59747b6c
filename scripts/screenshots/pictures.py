"""A sail of one picture, found again in another."""

from playwright.sync_api import Page


def fill(page: Page) -> None:
    panel = page.locator("#panel-pictures")
    panel.get_by_role("button", name="Take the example pictures").click()
    panel.get_by_text("most like it in the other picture").wait_for()
    page.mouse.move(0, 0)
