"""What axe-core finds wrong with a page for those who do not see it, or use no mouse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axe_playwright_python.base import AXE_FILE_PATH

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = Path(AXE_FILE_PATH).read_text(encoding="utf-8")
GRAVE = ("serious", "critical")
MILD = (
    *("aria-allowed-role", "aria-deprecated-role", "empty-heading", "empty-table-header", "form-field-multiple-labels"),
    *("heading-order", "html-xml-lang-mismatch", "image-redundant-alt", "landmark-banner-is-top-level"),
    *("landmark-contentinfo-is-top-level", "landmark-main-is-top-level", "landmark-no-duplicate-banner"),
    *("landmark-no-duplicate-contentinfo", "landmark-no-duplicate-main", "landmark-one-main", "landmark-unique"),
    *("meta-viewport-large", "page-has-heading-one", "presentation-role-conflict", "region", "scope-attr-valid"),
    *("skip-link", "table-duplicate-name"),
)
"""The rules whose faults axe counts as moderate or minor: what they find is not looked at, and takes a fifth of it."""
ALIKE_MAX = 2
"""Of elements that are drawn alike so many are judged: two, for the striped rows of a table."""
OF_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that another theme can break."""
OF_WIDTH = (*OF_COLOURS, "target-size", "scrollable-region-focusable", "label", "link-name", "button-name")
"""The rules that another width can break: what it hides, shows or moves."""

MARK = """
(alikeMax) => {
  const valued = new Set(["class", "role", "type", "style", "aria-current", "aria-sort", "aria-pressed"]);
  const hasText = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== "";
  const own = (element) => [
    element.localName,
    ...[...element.attributes].map((each) => each.name + (valued.has(each.name) ? "=" + each.value : "")),
    [...element.childNodes].some(hasText),
  ].join(" ");
  const shapes = new Map();
  const shape = (element) => {
    const made = own(element) + "(" + [...element.children].map(shape).join(",") + ")";
    shapes.set(element, made);
    return made;
  };
  const counts = new Map();
  const mark = (element, above) => {
    const key = above + ">" + shapes.get(element);
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (counts.get(key) > alikeMax) element.setAttribute("data-alike", "");
    else for (const child of element.children) mark(child, above + ">" + own(element));
  };
  shape(document.body);
  mark(document.body, "");
}
"""
"""Marks the elements of which as many as are judged stand before them: they and all they hold have the same names,
classes, states and kinds of attributes, and so has everything around them, so that the same styles apply."""
RUN = """
async ([mild, only]) => {
  const known = new Set(axe.getRules().map((rule) => rule.ruleId));
  const rules = Object.fromEntries(mild.filter((id) => known.has(id)).map((id) => [id, {enabled: false}]));
  const which = only.length ? {runOnly: {type: "rule", values: only}} : {rules};
  const options = {resultTypes: ["violations"], preload: false, ...which};
  const found = await axe.run({exclude: [["[data-alike]"]]}, options);
  const judged = [...found.passes, ...found.violations].map((each) => each.id);
  return JSON.stringify({judged, violations: found.violations});
}
"""
"""Its answer is one text: to hand thousands of values over one by one took as long as to find them."""


def violations(page: Page) -> list[str]:
    """Return the serious and critical violations of a page, a line each, with the elements."""
    page.evaluate(SOURCE)
    page.evaluate(MARK, ALIKE_MAX)
    return _run(page, ())


def violations_of(page: Page, rules: Sequence[str]) -> list[str]:
    """Return those of some rules, of a page that was judged before in another theme or at another width."""
    return _run(page, rules)


def _run(page: Page, rules: Sequence[str]) -> list[str]:
    found = json.loads(page.evaluate(RUN, [MILD, list(rules)]))
    assert set(found["judged"]) & set(rules or OF_COLOURS), "nothing was judged"
    return _told(found["violations"])


def _told(found: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:160]}: {node.get('failureSummary', '')[:300]}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
