"""A folder with a configuration in it, read with a bare environment and a clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobsup.config.load import load
from jobsup.config.settings import Config
from jobsup.errors import ConfigError

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Folder:
    """Writes files and reads them back as a configuration called `jobsup.toml`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "jobsup.toml") -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o644)
        return file

    def load(self, text: str, **environ: str) -> Config:
        self.write(text)
        return load("jobsup.toml", environ, FixedClock())

    def problems(self, text: str, **environ: str) -> list[str]:
        """Return the lines of the error that the text must raise."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        assert caught.value.exit_code == 7
        return str(caught.value).splitlines()

    def warnings(self, text: str, **environ: str) -> list[str]:
        return [str(problem) for problem in self.load(text, **environ).warnings]
