"""Every setting's effective value and where it comes from."""

from __future__ import annotations

from typing import Any

from jobsup.config.keys import DEFAULT_KEYS, SETTING_KEYS
from jobsup.config.settings import DEFAULT_ORIGIN, Config
from jobsup.config.urls import MASK
from jobsup.config.words import param_words, setting_words, words

Row = tuple[str, str, str]
"""The key, its value as TOML would write it, its origin."""


def effective(config: Config) -> list[Row]:
    """Return every setting and every default of jobs; passwords and values of `env` are masked."""
    rows = [
        (key.path, setting_words(key.path, setting_value(config, key.path)), _origin(config, key.path))
        for key in (*SETTING_KEYS, *DEFAULT_KEYS)
    ]
    return [*rows, *_tables(config)]


def setting_value(config: Config, path: str) -> Any:
    """Return the value of `worker.count`, `jobs.set`, `defaults.queue` and the like."""
    section, _, name = path.partition(".")
    if path == "jobs.set":
        return config.set
    if section == "defaults" and name in ("timezone", "dst", "calendar_rule"):
        return getattr(config.defaults.schedule, name)
    if path == "defaults.use_calendar":
        calendar = config.defaults.schedule.use_calendar
        return "" if calendar is None else calendar.name
    return getattr(getattr(config, section), name)


def _tables(config: Config) -> list[Row]:
    params = [
        (f"defaults.params.{param.name}", param_words(param), _origin(config, "defaults.params"))
        for param in config.defaults.params
    ]
    env = [(f"defaults.env.{name}", words(MASK), _origin(config, "defaults.env")) for name in config.defaults.env]
    secrets = [
        (f"defaults.secrets.{name}", words(source), _origin(config, "defaults.secrets"))
        for name, source in config.defaults.secrets.items()
    ]
    return [*params, *env, *secrets]


def _origin(config: Config, path: str) -> str:
    return config.origins.get(path, DEFAULT_ORIGIN)
