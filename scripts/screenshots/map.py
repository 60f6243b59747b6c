"""Sentences about five things, and the neighbours of one that stands between two of them."""

from playwright.sync_api import Page, expect


def fill(page: Page) -> None:
    panel = page.locator("#panel-map")
    # Before the models are listed there is none to ask.
    expect(panel.get_by_label("Model").first).to_have_value("e5-starter")
    panel.get_by_role("button", name="Draw the map").click()
    panel.get_by_role("option", name="network port").click()
    panel.get_by_text("of the variance").wait_for()
