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
ZONE = "Asia/Tokyo"
"""Where whoever sits before the window is: nine hours ahead of UTC, all the year."""
WAIT_MILLISECONDS = 15_000
FIRST_LINE_SEEN = """
new Promise((resolve) => {
  const look = () => {
    const line = document.querySelector("#output li");
    if (line && line.textContent.includes(";")) resolve([Date.now(), line.textContent]);
  };
  const inNextFrame = () => requestAnimationFrame(look);
  new MutationObserver(inNextFrame).observe(document.body, {childList: true, subtree: true, characterData: true});
  inNextFrame();
})
"""
"""When a run's page shows its first whole line, in milliseconds of the epoch, and that line.

It looks in the frame after each change: a look at every frame draws sixty a second, and takes from what is measured.
"""


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


class Window:
    """One page of a browser, which test after test is given as if it were new.

    A context and a page of its own for each test cost as much as all that most tests do with them.
    """

    def __init__(self, browser: Browser) -> None:
        context = browser.new_context(timezone_id=ZONE, locale="en-GB")
        context.set_default_timeout(WAIT_MILLISECONDS)
        self._page = context.new_page()
        self._devtools = context.new_cdp_session(self._page)

    def page(
        self, size: str = "desktop", theme: str = "light", *, cookie: dict[str, str] | None = None, scripts: bool = True
    ) -> Page:
        """Give the page to somebody of whom the browser knows nothing but this cookie (`name`, `value`, `url`)."""
        self.leave()
        width, height = SIZES[size]
        self._page.set_viewport_size({"width": width, "height": height})
        self._page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        self._devtools.send("Emulation.setScriptExecutionDisabled", {"value": not scripts})
        if cookie is not None:
            self._page.context.add_cookies([cookie])  # type: ignore[list-item]
        return self._page

    def leave(self) -> None:
        """Forget who was there; what the last page has kept it has kept for an address that is no more."""
        self._page.goto("about:blank")
        self._page.context.clear_cookies()


@contextmanager
def window() -> Iterator[Window]:
    """Start the browser and open its window."""
    with chromium() as browser:
        yield Window(browser)


class Complaints:
    """What the console of a page said that it should not have: errors, refused content, scripts that failed."""

    def __init__(self, page: Page) -> None:
        self.told: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.told.append(str(error)))

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.told.append(f"{kind}: {text}")
