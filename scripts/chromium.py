"""Chromium for tests and screenshots: Debian's, or whichever there is."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Setup asks for the browser before there is Playwright.
    from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    # Tests may run as root, where Chromium refuses its sandbox; it opens this server's pages only.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Path of the browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def apt_commands() -> tuple[tuple[str, ...], ...]:
    """What installs the browser here; empty where that is not ours to do."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return ()
    return (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"),
    )


def launch(playwright: Playwright) -> Browser:
    """A headless browser, to be closed by the caller."""
    return playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
