"""Bars, as an SVG that any browser shows: no library draws it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, LABEL, LINE, BAR = 760, 300, 22, 14


def bars(title: str, rows: Sequence[tuple[str, float, bool]], unit: str) -> str:
    """Draw one bar for each (label, value, is ours), the longest as wide as there is room."""
    longest = max((value for _, value, _ in rows), default=0) or 1
    height = (len(rows) + 2) * LINE
    room = WIDTH - LABEL - 110
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (label, value, is_ours) in enumerate(rows, start=1):
        top, width = number * LINE + 8, max(1.0, room * value / longest)
        colour = "#2a6fdb" if is_ours else "#9aa4b2"
        lines.append(
            f'<text x="8" y="{top + 11}">{escape(label)}</text>'
            f'<rect x="{LABEL}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            f'<text x="{LABEL + width + 6:.1f}" y="{top + 11}">{value:,.0f} {escape(unit)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"
