"""A query and a passage, token by token."""

from playwright.sync_api import Page, expect


def fill(page: Page) -> None:
    page.get_by_role("tab", name="Hybrid").click()
    panel = page.locator("#text-hybrid")
    # Before the models are listed there is none to ask.
    expect(panel.get_by_label("Model")).to_have_value("bge-m3-starter")
    panel.get_by_role("button", name="Look inside").click()
    panel.get_by_role("heading", name="ColBERT").wait_for()
    page.mouse.move(0, 0)
