"""A headless Chromium for tests: the system's, with nothing of its own going out to a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")
FIRST_LINE_SEEN = """
new Promise((resolve) => {
  const look = () => {
    const line = document.querySelector("#output li");
    if (line && line.textContent.includes(";")) resolve([Date.now(), line.textContent]);
    else requestAnimationFrame(look);
  };
  look();
})
"""
"""When a run's page shows its first whole line, in milliseconds of the epoch, and that line."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; the test is skipped, and says so, where there is none."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    from playwright.sync_api import sync_playwright

    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Complaints:
    """What the console of a page said that it should not have: errors, refused content, scripts that failed."""

    def __init__(self, page: Page) -> None:
        self.told: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.told.append(f"{kind}: {text}")
