"""Processes killed at places and moments that a seed draws lose no run and double none; `tests.long.failpoints` is the
long form."""

from __future__ import annotations

import pytest

from tests.support.checker import explain, judge
from tests.support.postgres import PostgresServer, postgres, schema
from tests.support.sweep import sweep

__all__ = ["postgres"]

POINTS = 10
"""On each database."""


@pytest.mark.parametrize("seed", [1])
def test_kills_on_sqlite_lose_nothing_and_double_nothing(seed: int) -> None:
    history, struck = sweep(POINTS, seed)
    found = judge(history)
    assert not found, f"seed {seed}, struck at {struck}\n{explain(history, found)}"


@pytest.mark.parametrize("seed", [2])
def test_kills_on_a_server_lose_nothing_and_double_nothing(postgres: PostgresServer, seed: int) -> None:
    with schema(postgres, with_tables=False) as name:
        history, struck = sweep(POINTS, seed, postgres, name)
    found = judge(history)
    assert not found, f"seed {seed}, struck at {struck}\n{explain(history, found)}"
