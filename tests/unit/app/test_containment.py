"""How runs are held is decided once, and said."""

from __future__ import annotations

import pytest

from jobsup.app import containment
from jobsup.runtime.cgroups import Groups


def test_no_groups_are_looked_for_where_the_configuration_says_none() -> None:
    assert containment.settle("none", "tag") is None


def test_a_place_that_cannot_be_had_is_an_error_in_the_log_and_not_the_end(caplog: pytest.LogCaptureFixture) -> None:
    assert containment.settle("/proc/no/such", "tag") is None
    assert "Runs have no control groups of their own: /proc/no/such" in caplog.text


def test_the_limits_that_hold_are_named() -> None:
    assert containment.words(None) == "sessions and the process table"
    assert containment.words(Groups("/x")) == "control groups (no limits: no controllers)"
    assert containment.words(Groups("/x", frozenset(("cpu", "memory")))) == "control groups (memory, cpu)"
