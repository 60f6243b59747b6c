"""The example pages, ranked for a query; the best one's map is open."""

from playwright.sync_api import Page, expect


def fill(page: Page) -> None:
    panel = page.locator("#panel-search")
    panel.get_by_role("button", name="Take the example pages").click()
    expect(panel.get_by_text("10 of 10 embedded")).to_be_visible(timeout=120_000)
    panel.get_by_role("searchbox", name="Query").fill("winter storm")
    panel.get_by_role("button", name="Search", exact=True).click()
    expect(panel.get_by_text("Comparing 10 pages")).to_be_visible()
    panel.get_by_role("button", name="weather.png").first.click()
    panel.get_by_role("radio", name="storm").wait_for()
    page.mouse.move(0, 0)
