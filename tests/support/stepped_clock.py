"""A clock that stands still until a test sets it: the wall clock of a whole instance, its jobs included.

It is Debian's libfaketime. The monotonic clock stays real, as it does when a machine's clock is set. All processes
share one instant, which `set` replaces as a whole file, and each reads it anew whenever it asks for the time: a test
decides at which instant something happens, however slow the machine is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
LIBRARY = "faketime/libfaketimeMT.so.1"


class SteppedClock:
    """The instant in a folder; `environment` is what a process needs to live by it."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._file = folder / "clock"
        self.set(now)

    @property
    def environment(self) -> dict[str, str]:
        library = _library()
        assert library is not None
        return {
            "TZ": "UTC",  # the file holds a wall time
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, now: datetime) -> None:
        """Let it be that instant now, and until it is set again."""
        self.now = now
        new = self._file.with_suffix(".new")
        new.write_text(f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}\n", encoding="utf-8")
        new.rename(self._file)


def ahead(seconds: int) -> dict[str, str]:
    """Return what a process needs to live by a clock that goes as it should, but is so far ahead."""
    return {
        "LD_PRELOAD": str(_library() or ""),
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@cache
def why_not(folder: str = "/tmp") -> str | None:
    """Say why no clock can be set here, in words for whoever runs the tests; None when it can."""
    if _library() is None:
        return "libfaketime is not installed (on Debian: apt-get install faketime)"
    clock = SteppedClock(Path(folder), datetime(2031, 5, 6, 7, 0, 0, 250_000, tzinfo=UTC))
    done = subprocess.run(
        [sys.executable, "-c", "import datetime; print(datetime.datetime.now(datetime.UTC).isoformat())"],
        env={**os.environ, **clock.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return (
        None if done.stdout.startswith("2031-05-06T07:00:00.25") else f"libfaketime does not work here: {done.stderr}"
    )


def _library() -> Path | None:
    return next((path for place in PLACES if (path := Path(place) / LIBRARY).exists()), None)
