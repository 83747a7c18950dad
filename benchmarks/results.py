"""What a run of a benchmark has found so far, on disk after each figure: a run that is cut off keeps what it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import picture
from benchmarks.figures import Figure, table
from benchmarks.picture import Bar

PANELS = (
    (
        "Commands a second (/bin/true, output captured, each written down)",
        "/s",
        ("limit:", "commands,", "peer, commands:"),
    ),
    ("The same as a share of the machine's limit, C posix_spawn beside it", "", ("commands,",)),
    ("Python callables a second, each written down", "/s", ("callables,", "peer, calls:")),
    ("Run now on an idle system, commit to process start, milliseconds", "ms", ("run now,",)),
    ("A claim of one run, milliseconds", "ms", ("claim,",)),
)
"""What the picture shows: a title, a unit, and how the names of its figures begin."""


class Results:
    """Figures by part, and what could not be measured; written to `path` with .json and .svg."""

    def __init__(self, path: Path, facts: dict[str, str]) -> None:
        self.json, self.picture = (path.with_name(f"{path.name}.{kind}") for kind in ("json", "svg"))
        self._facts = facts
        self._figures: list[tuple[str, Figure]] = []
        self._failures: list[tuple[str, str, str]] = []
        self._seconds: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def has_failed(self) -> bool:
        """Something was not measured, or misses its target."""
        return bool(self._failures) or any(figure.verdict == "MISSED" for _, figure in self._figures)

    def add(self, part: str, figures: Sequence[Figure]) -> None:
        self._figures += [(part, figure) for figure in figures]
        self._write()

    def fail(self, part: str, name: str, why: str) -> None:
        self._failures.append((part, name, why))
        self._write()

    def took(self, part: str, seconds: float) -> None:
        self._seconds[part] = round(seconds, 1)
        self._write()

    def told(self) -> str:
        """Return all of it as text."""
        facts = "\n".join(f"{name}: {fact}" for name, fact in self._facts.items())
        failures = "".join(f"\nnot measured: {part}: {name}: {why}" for part, name, why in self._failures)
        missed = [figure.name for _, figure in self._figures if figure.verdict == "MISSED"]
        count = f"{len(missed)} of {sum(figure.target is not None for _, figure in self._figures)} targets are missed"
        return "\n\n".join((facts, table([figure for _, figure in self._figures]) + failures, count))

    def _write(self) -> None:
        told = [{"part": part, **asdict(figure), "verdict": figure.verdict} for part, figure in self._figures]
        failures = [{"part": part, "name": name, "why": why} for part, name, why in self._failures]
        answer = {
            "schema": 2,
            "machine": self._facts,
            "seconds": self._seconds,
            "figures": told,
            "not_measured": failures,
        }
        self.json.write_text(json.dumps(answer, indent=1) + "\n")
        self.picture.write_text(
            picture.panels([(title, unit, self._bars(unit, names)) for title, unit, names in PANELS])
        )

    def _bars(self, unit: str, names: tuple[str, ...]) -> list[Bar]:
        return [
            Bar(figure.name, figure.value, figure.target, is_ours=not figure.name.startswith(("limit", "peer")))
            for _, figure in self._figures
            if figure.unit == unit and figure.name.startswith(names)
        ]
