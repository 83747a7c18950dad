"""Bars, as an SVG that any browser shows: no library draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, LINE, BAR = 860, 390, 22, 14
OURS, THEIRS, TARGET = "#2a6fdb", "#9aa4b2", "#d1495b"


@dataclass(frozen=True, slots=True)
class Bar:
    """A value, and the mark it should reach, or should not pass."""

    label: str
    value: float
    target: float | None = None
    is_ours: bool = True


def panels(given: Sequence[tuple[str, str, Sequence[Bar]]]) -> str:
    """Draw panels of (title, unit, bars) below each other; those without a bar are left out."""
    shown = [(title, unit, bars) for title, unit, bars in given if bars]
    lines: list[str] = []
    top = 0
    for title, unit, bars in shown:
        lines.append(f'<text x="8" y="{top + 18}" font-weight="bold">{escape(title)}</text>')
        lines += _bars(bars, unit, top + LINE + 4)
        top += (len(bars) + 2) * LINE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-size="12" '
        'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *lines, "</svg>"]) + "\n"


def _bars(bars: Sequence[Bar], unit: str, top: int) -> list[str]:
    longest = max(max(bar.value, bar.target or 0) for bar in bars) or 1
    room = WIDTH - LABEL - 90
    lines = []
    for number, bar in enumerate(bars):
        y, width = top + number * LINE, max(1.0, room * bar.value / longest)
        colour = OURS if bar.is_ours else THEIRS
        lines.append(
            f'<text x="8" y="{y + 11}">{escape(bar.label)}</text>'
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
            f'<text x="{LABEL + width + 6:.1f}" y="{y + 11}">{_number(bar.value)} {escape(unit)}</text>'
        )
        if bar.target is not None:
            at = LABEL + room * bar.target / longest
            lines.append(f'<rect x="{at:.1f}" y="{y - 2}" width="2" height="{BAR + 4}" fill="{TARGET}"/>')
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
