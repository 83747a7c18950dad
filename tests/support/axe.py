"""What axe-core finds wrong with a page for those who do not see it, or use no mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRAVE = ("serious", "critical")


def violations(page: Page) -> list[str]:
    """Return the serious and critical violations of a page, a line each, with the elements."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:160]}: {node.get('failureSummary', '')[:300]}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
