"""What axe-core finds wrong with a page for those who do not see it, or use no mouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRAVE = ("serious", "critical")
BRIEFLY = {"resultTypes": ["violations"]}
"""Without a word on each element that is well."""
ALIKE = {"exclude": [["tbody tr:nth-child(n+7)"]]}
"""Rows of a table that are drawn as those before them: looked at one by one they take most of the time."""
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that another theme can break."""
OF_WIDTH = (*OF_COLOURS, "target-size", "scrollable-region-focusable", "label", "link-name", "button-name")
"""The rules that another width can break: what it hides, shows or moves."""


def violations(page: Page) -> list[str]:
    """Return the serious and critical violations of a page, a line each, with the elements."""
    return _told(Axe().run(page, ALIKE, BRIEFLY).response["violations"])


def violations_of(page: Page, rules: Sequence[str]) -> list[str]:
    """Return those of some rules, of a page that was judged before in another theme or at another width."""
    options = {**BRIEFLY, "runOnly": {"type": "rule", "values": list(rules)}}
    found = page.evaluate("([context, options]) => axe.run(context, options)", [ALIKE, options])
    judged = {each["id"] for key in ("passes", "violations") for each in found[key]}
    assert judged & set(rules), "nothing was judged"
    return _told(found["violations"])


def _told(found: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:160]}: {node.get('failureSummary', '')[:300]}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
