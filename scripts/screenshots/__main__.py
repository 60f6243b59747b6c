"""python -m scripts.screenshots [panel ...]: starts a server with the starter models and takes each panel's picture."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from scripts.chromium import launch

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "screenshots"
PANELS = ("page", "search", "text", "pictures", "map", "models")
"""Each has a module beside this one, whose `fill(page)` brings the panel to what is worth a picture."""
SIZE: ViewportSize = {"width": 1280, "height": 800}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with serving() as url, sync_playwright() as playwright:
        browser = launch(playwright)
        for panel in sys.argv[1:] or PANELS:
            page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
            page.goto(f"{url}/playground#{panel}")
            fill: Callable[[Page], None] = import_module(f"scripts.screenshots.{panel}").fill
            fill(page)
            path = PICTURES / f"{panel}.png"
            page.screenshot(path=path, full_page=True)
            page.close()
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size >> 10} KB")
        browser.close()


@contextmanager
def serving() -> Iterator[str]:
    """A server of its own; its models folder is a copy with the starter models, so that it may train."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        shutil.copytree(ROOT / "models" / "starter", models / "starter")
        settings = {"MODELS_FILE": str(ROOT / "starter.toml"), "MODELS_DIR": str(models), "PORT": "0"}
        environment = os.environ | settings
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        printed = process.stdout or ()
        try:
            yield next(found.group() for line in printed if (found := re.search(r"http://[\d.:]+", line)))
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
