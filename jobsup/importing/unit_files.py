"""systemd's unit files: their sections with drop-ins laid over them, and the values they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

UNIT_BYTES_MAX = 1 << 20
FOLDERS = tuple(
    Path(folder)
    for folder in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
"""Where units are looked for, the strongest first."""

_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), timedelta(microseconds=1)),
    **dict.fromkeys(("msec", "ms"), timedelta(milliseconds=1)),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), timedelta(seconds=1)),
    **dict.fromkeys(("minutes", "minute", "min", "m"), timedelta(minutes=1)),
    **dict.fromkeys(("hours", "hour", "hr", "h"), timedelta(hours=1)),
    **dict.fromkeys(("days", "day", "d"), timedelta(days=1)),
    **dict.fromkeys(("weeks", "week", "w"), timedelta(weeks=1)),
    **dict.fromkeys(("months", "month", "M"), timedelta(days=30.44)),
    **dict.fromkeys(("years", "year", "y"), timedelta(days=365.25)),
}
_SPAN_PART = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-zµμ]*)\s*")
_TRUE = ("1", "yes", "y", "true", "t", "on")


@dataclass(frozen=True, slots=True)
class Setting:
    """One `Key=value` line."""

    section: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its name, its file, and its settings in order, those of drop-ins last."""

    name: str
    path: Path
    settings: tuple[Setting, ...] = ()
    faults: tuple[str, ...] = field(default=())
    """`file:line: what is wrong`."""

    def values(self, section: str, key: str) -> list[str]:
        """Return all values of a key that may be given several times; an empty one forgets those before it."""
        found: list[str] = []
        for setting in self.settings:
            if (setting.section, setting.key) == (section, key):
                found = [*found, setting.value] if setting.value else []
        return found

    def last(self, section: str, key: str) -> str:
        """Return the value of a key that counts once; empty when it is not given."""
        return next(reversed(self.values(section, key)), "")

    def is_on(self, section: str, key: str) -> bool:
        return self.last(section, key).lower() in _TRUE

    def keys(self, section: str) -> list[str]:
        return list(dict.fromkeys(setting.key for setting in self.settings if setting.section == section))


def load(name: str, folders: Sequence[Path]) -> Unit | None:
    """Read a unit and its drop-ins; None when there is no file, or when it is masked."""
    stem, at, rest = name.partition("@")
    suffix = rest.rpartition(".")[2]
    template = f"{stem}@.{suffix}" if at else name
    path = next((path for each in (name, template) for folder in folders if (path := folder / each).is_file()), None)
    if path is None or path.stat().st_size == 0:
        return None
    settings: list[Setting] = []
    faults: list[str] = []
    for file in (path, *_drop_ins(dict.fromkeys((template, name)), folders)):
        settings += _parse(file, faults)
    return Unit(name, path, tuple(settings), tuple(faults))


def span(text: str) -> timedelta | None:
    """Read a time span such as `1h 30min` or `90` (seconds); None is for ever. ValueError when it is none."""
    stripped = text.strip()
    if stripped == "infinity":
        return None
    total, position = timedelta(0), 0
    while position < len(stripped):
        part = _SPAN_PART.match(stripped, position)
        if part is None or part[2] not in _UNITS:
            raise ValueError(f"{stripped!r} is no time span")
        try:
            total += float(part[1]) * _UNITS[part[2]]
        except OverflowError:
            raise ValueError(f"{stripped!r} is too long") from None
        position = part.end()
    if not stripped:
        raise ValueError("a time span is empty")
    return total


def _drop_ins(names: Iterable[str], folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the drop-ins by name of file; of two with the same name the stronger folder's counts."""
    found: dict[str, Path] = {}
    for name in names:
        for folder in reversed(folders):
            for path in _files(folder / f"{name}.d"):
                found[path.name] = path
    return iter(found[name] for name in sorted(found))


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".conf" and path.is_file())
    except OSError:
        return []


def _parse(path: Path, faults: list[str]) -> Iterator[Setting]:
    """Yield the settings of one file; lines that are none go to `faults`."""
    section = ""
    for number, line in _lines(path, faults):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if equals and section:
            yield Setting(section, key.strip(), value.strip())
        else:
            faults.append(f"{path}:{number}: neither a [section] nor Key=value below one")


def _lines(path: Path, faults: list[str]) -> Iterator[tuple[int, str]]:
    """Yield whole lines with the number of their first; a line's last backslash joins the next one to it."""
    try:
        with path.open("rb") as opened:
            text = opened.read(UNIT_BYTES_MAX).decode()
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError:
        faults.append(f"{path}: is not UTF-8 text")
        return
    begun, whole = 0, ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not whole):
            continue
        begun = begun if whole else number
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        yield begun, (whole + line).strip()
        whole = ""
    if whole.strip():
        yield begun, whole.strip()
