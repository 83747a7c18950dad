"""An installation without the libraries of the web: one clear line, and the rest runs."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from jobsup import app
from jobsup.app import alone, children
from jobsup.clock import SystemClock
from jobsup.config.settings import Config, PortalSettings
from jobsup.errors import ConfigError
from jobsup.portal import opening

CONFIG = Config(path="jobsup.toml", portal=PortalSettings(enabled=True))


@pytest.fixture
def without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == "jinja2" else find_spec(name))


def kinds(config: Config) -> list[str]:
    prepared: Any = SimpleNamespace(config=config, lines=(), content_hash="")
    return [spec.kind for spec in children.compose(prepared, "tag", SystemClock().now()).specs]


def test_the_portal_is_a_child_when_it_is_wanted() -> None:
    assert kinds(CONFIG) == ["scheduler", "worker", "portal"]
    assert kinds(replace(CONFIG, portal=PortalSettings(enabled=False))) == ["scheduler", "worker"]


def test_without_its_libraries_the_rest_runs_and_one_line_says_what_to_install(without_jinja: None) -> None:
    assert kinds(CONFIG) == ["scheduler", "worker"]
    assert opening.greeting(CONFIG) == "is left out: jinja2 is not installed; `pip install jinja2` adds it"


def test_a_portal_alone_refuses_to_start_without_them(without_jinja: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "_begin", lambda _path, _role: SimpleNamespace(config=CONFIG))
    monkeypatch.setenv("JOBSUP_PORTAL_ENABLED", "true")
    with pytest.raises(ConfigError, match="`pip install jinja2` adds it"):
        app.run_portal("jobsup.toml")
