"""A job that has ended, its losses, and its model tried beside its base."""

from playwright.sync_api import Page, expect

LONG_MS = 600_000


def fill(page: Page) -> None:
    panel = page.locator("#panel-models")
    load = panel.get_by_role("button", name="Load colqwen2.5-starter", exact=True)
    load.or_(panel.get_by_role("button", name="Unload colqwen2.5-starter")).wait_for()
    # The pictures of other panels may have loaded it.
    if load.is_visible():
        load.click()
    panel.get_by_role("button", name="Take the example pairs").click()
    expect(panel.get_by_label("epochs", exact=True)).to_have_value("20")
    panel.get_by_role("button", name="Start training").click()
    job = panel.locator(".job")
    job.get_by_label("Search for").fill("who can help me with heron", timeout=LONG_MS)
    job.get_by_role("button", name="Search with both").click()
    expect(job.get_by_role("region", name="Found by nicknames")).to_be_visible(timeout=LONG_MS)
    # What was pressed on the way is not what the picture is about.
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
