"""Nothing that a job or a stranger wrote is obeyed by the terminal that a verb prints to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobsup.model import ScheduleSpec, Status
from jobsup.store import audit, tokens
from jobsup.store.engine import Database
from tests.support.command import forked
from tests.support.store import add_dispatch, add_job, add_log, add_worker, create_database

CORPUS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;a title\x07",
    "\x1b]8;;http://evil.example\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J\x1b[H\x1b[3J",
    "\x1bP+q544e\x1b\\\x1b_apc\x1b\\\x1b^pm\x1b\\",
    "\x1b[6n\x1b[c\x1b[21t",
    "\x9b31m\x9d0;c1\x9c\x90",
    "over\rwritten\b\b\b",
    "\x1b[?1049h\x1bc\x1b(0",
    "a\u202egnp.exe\u2066\u2069",
    "\x00\x07\x0b\x0c\x0e\x0f\x7f\x85\u2028\u2029",
    "\x1b",
)
ALL = " ".join(CORPUS)
OBEYED = {chr(code) for code in (*range(32), *range(0x7F, 0xA0))} - {"\n", "\t"}
OBEYED |= set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose database is full of it."""
    (tmp_path / "jobsup.toml").write_text('[supervisor]\nruntime_dir = "run"\n')
    with closing(create_database(tmp_path / "jobsup.db")) as database:
        stain(database)
        yield tmp_path


def stain(database: Database) -> None:
    said = {"description": ALL, "tags": (ALL[:100],), "queue": ALL[:60], "command": ALL, "env": {"A": ALL}}
    job = add_job(database, f"j{ALL[:100]}", schedule=ScheduleSpec(cron="0 * * * *"), **said)
    plain = add_job(database, "plain", row={"paused_reason": ALL, "paused_by": ALL[:200], "paused_at": database.now()})
    told = {"error_message": ALL, "requested_by": ALL[:255], "note": ALL[:200], "params": {ALL[:50]: ALL}}
    for each in (job, plain):
        run = add_dispatch(database, each, Status.FAILED, **told)
        add_log(database, run, ALL.encode())
    add_worker(database, "worker-xxxxx", node=ALL[:200], hostname=ALL[:200], version=ALL[:20], queues=[ALL[:60]])
    audit.record(database, actor=ALL, origin="api", verb=ALL[:20], subject=ALL, address=ALL[:60], detail={ALL: ALL})
    tokens.create(database, "token", ["read"], by=ALL[:255])


VERBS = (
    ("list",),
    ("show", "plain"),
    ("show", f"j{ALL[:100]}".replace("\x00", "")),
    ("next",),
    ("why", "plain"),
    ("why", "1"),
    ("runs",),
    ("logs", "1"),
    ("logs", "--tail", "3", "2"),
    ("workers",),
    ("status",),
    ("forecast", "--days", "1"),
    ("audit",),
    ("token", "list"),
    ("pause", "plain", "--reason", ALL.replace("\x00", "")),
    ("resume", "plain"),
    ("cancel", "1"),
    ("run", ALL.replace("\x00", "")),
    ("runs", ALL.replace("\x00", "")),
    ("user", "role", ALL.replace("\x00", ""), "viewer"),
)


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_what_a_verb_prints_holds_nothing_a_terminal_obeys(folder: Path, words: tuple[str, ...]) -> None:
    done = forked(*words, cwd=folder)
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert OBEYED.isdisjoint(done.stdout), repr(done.stdout)
    assert OBEYED.isdisjoint(done.stderr), repr(done.stderr)


def test_raw_output_is_the_very_bytes(folder: Path) -> None:
    from tests.support.command import jobsup

    done = jobsup("logs", "--raw", "1", cwd=folder)
    assert "\x1b]52;c;ZXZpbA==\x07" in done.stdout
