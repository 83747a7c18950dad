"""What a supervisor has made before it forks, so that none of its children makes a copy of its own."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import sqlite

from jobsup.store import attempts, claiming, preload, rounds, statements

STATEMENTS = (*attempts.STATEMENTS, *claiming.STATEMENTS, *rounds.STATEMENTS)


def test_after_a_rehearsal_no_worker_makes_a_statement_that_each_run_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    preload.rehearse("sqlite:///unused.db")

    def refuse(*_: object) -> None:
        raise AssertionError("made after the fork")

    monkeypatch.setattr(statements, "_make", refuse)
    for statement in STATEMENTS:
        for rows in (1, 1000):
            assert statement.made(sqlite.dialect(), rows).text
