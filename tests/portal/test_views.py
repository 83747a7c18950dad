"""Bytes become harmless coloured lines the same way however they are cut; words exist for every reason."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from jobsup.model import Reason, ScheduleSpec, Status
from jobsup.portal.views import log, words
from jobsup.portal.views.ansi import STYLE, Gap, NewLine, Reader, Text, Token, restyle
from jobsup.portal.views.jobs import Filter as JobFilter
from jobsup.portal.views.jobs import jobs_of
from jobsup.portal.views.overview import overview_of
from jobsup.portal.views.strip import bars
from jobsup.portal.views.timeline import timeline_of
from jobsup.portal.views.took import took_of
from jobsup.store import standing
from jobsup.store.engine import Database
from jobsup.store.log_ranges import Piece
from jobsup.store.standing import Mark
from tests.support.store import add_dispatch, add_job, add_log

PARTS = some.sampled_from(
    [
        b"abc",
        "grün €".encode(),
        b"\xff",
        b"\n",
        b"\r\n",
        b"\r",
        b"\x1b[31m",
        b"\x1b[0m",
        b"\x1b[1;38;5;208mX",
        b"\x1b",
        b"[",
    ]
)


@given(some.lists(PARTS, max_size=30).map(b"".join), some.data())
def test_however_output_is_cut_it_reads_the_same(data: bytes, draw: some.DataObject) -> None:
    whole = _plain(Reader().read([Piece(0, 1, data)], is_final=True))
    reader, tokens, place = Reader(), list[Token](), 0
    while place < len(data):
        size = draw.draw(some.integers(1, 5))
        tokens += reader.read([Piece(place, 1, data[place : place + size])])
        place += size
    tokens += reader.read([], is_final=True)
    assert _plain(tokens) == whole
    assert reader.place == len(data)


@given(some.lists(PARTS, max_size=30).map(b"".join), some.data())
def test_a_second_reader_goes_on_from_place_and_style_exactly(data: bytes, draw: some.DataObject) -> None:
    cut = draw.draw(some.integers(0, len(data)))
    first = Reader()
    tokens = first.read([Piece(0, 1, data[:cut])])
    second = Reader(first.place, first.style)
    tokens += second.read([Piece(first.place, 1, data[first.place :])], is_final=True)
    assert _plain(tokens) == _plain(Reader().read([Piece(0, 1, data)], is_final=True))


@given(some.binary(max_size=200))
def test_no_byte_gets_through_that_a_page_would_obey(data: bytes) -> None:
    for token in Reader().read([Piece(0, 2, data)], is_final=True):
        if isinstance(token, Text):
            assert not set(token.text) & {chr(code) for code in range(32) if chr(code) != "\t"}
            assert STYLE.fullmatch(token.classes.removesuffix("err").strip() or "b")


def _plain(tokens: list[Token]) -> list[tuple[object, ...]]:
    """Join neighbouring texts of one look: how they are parted means nothing."""
    joined: list[tuple[object, ...]] = []
    for token in tokens:
        if isinstance(token, Text) and joined and joined[-1][0] == "text" and joined[-1][2] == token.classes:
            joined[-1] = ("text", str(joined[-1][1]) + token.text, token.classes)
        elif isinstance(token, Text):
            joined.append(("text", token.text, token.classes))
        else:
            joined.append((type(token).__name__, token))
    return joined


@pytest.mark.parametrize(
    ("style", "codes", "after"),
    [
        ("", "1;31", "b f1"),
        ("b f1", "0", ""),
        ("b d f1", "22", "f1"),
        ("", "38;5;9", "f9"),
        ("", "48;2;0;255;0", "g10"),
        ("f1", "39", ""),
        ("", "97", "f15"),
        ("", "999999999999;31", "f1"),
    ],
)
def test_colour_codes_become_classes(style: str, codes: str, after: str) -> None:
    assert restyle(style, codes) == after


def test_bytes_that_are_missing_are_told_in_their_place() -> None:
    tokens = Reader().read([Piece(0, 1, b"a\n"), Piece(10, 1, b"b\n")])
    assert tokens == [Text("a", ""), NewLine(2), Gap(8), Text("b", ""), NewLine(12)]


def test_a_search_finds_lines_across_the_edges_of_what_is_read_at_once(db: Database) -> None:
    run = add_dispatch(db, add_job(db), Status.COMPLETED)
    padding = b"." * ((1 << 20) - 5)
    add_log(db, run, padding + b"NEEDLE\nother\nneedle again")
    found = log.search(db, run, "needle")
    assert [hit.place for hit in found.hits] == [0, len(padding) + 13]
    assert found.is_all


def test_there_are_words_for_every_reason() -> None:
    assert set(words.REASONS) == set(Reason)


def test_a_command_is_quoted_for_a_shell() -> None:
    assert shlex.split(words.command("run", "a b; rm -rf /")) == ["jobsup", "run", "a b; rm -rf /"]


def test_what_only_looks_like_an_instant_stays_text() -> None:
    assert words.told("due 2026-99-99T99:99:99Z <b>") == "due 2026-99-99T99:99:99Z &lt;b&gt;"
    assert words.told("due at 2026-11-23T19:05:00Z.").startswith('due <time datetime="2026-11-23T19:05:00Z"')


def test_a_strip_has_failures_at_full_height_and_fits_its_box(db: Database) -> None:
    job = add_job(db)
    for status in (Status.COMPLETED, Status.FAILED, Status.SKIPPED):
        add_dispatch(db, job, status)
    drawn = bars(standing.strips(db, [job.job_id])[job.job_id])
    assert [bar.height for bar in drawn] == [5.0, 24.0, 5.0]
    assert all(bar.x >= 0 and bar.x + bar.width <= 168 for bar in drawn)


def test_paused_jobs_are_paused_even_when_they_failed(db: Database) -> None:
    add_dispatch(db, add_job(db, "backup", row={"paused_at": db.now()}), Status.FAILED)
    (row,) = jobs_of(db, JobFilter()).rows
    assert row.state == "paused"
    (failing,) = overview_of(db).failing
    assert failing.is_paused


def test_a_run_longer_than_usual_is_marked(db: Database) -> None:
    job, now = add_job(db, "backup"), db.now()
    began = {"started_at": now - timedelta(minutes=10), "claimed_at": now - timedelta(minutes=10)}
    add_dispatch(db, job, Status.COMPLETED, completed_at=now - timedelta(minutes=9), **began)
    add_dispatch(db, job, Status.IN_PROGRESS, **began)
    (running,) = overview_of(db).running
    assert (running.usual, running.is_long) == (timedelta(minutes=1), True)


def test_ticks_to_come_that_are_too_many_are_one_bar_to_the_end_of_the_timeline(db: Database) -> None:
    every = ScheduleSpec(every=timedelta(minutes=1), timezone="UTC")
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        add_job(db, name, schedule=every, next_run=db.now())
    drawn = timeline_of(db, "6h")
    for row in drawn.rows:
        last = row.bars[-1]
        assert "again and again" in last.title, row.name
        assert last.x + last.width == pytest.approx(1000, abs=0.2)


def test_a_timeline_of_many_jobs_says_how_many_have_no_room(db: Database) -> None:
    for _ in range(70):
        add_dispatch(db, add_job(db), Status.COMPLETED)
    drawn = timeline_of(db, "1h")
    assert (len(drawn.rows), drawn.hidden) == (60, 10)
    assert all(180 <= x <= 1000 for x, _ in drawn.grid)


def test_how_long_runs_took_is_drawn_to_the_longest_with_what_is_usual() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    marks = [
        Mark(n, Status.COMPLETED, Reason.NONE, start, start + timedelta(seconds=10 * n), start) for n in range(1, 11)
    ]
    found = took_of(marks)
    assert found is not None
    assert [bar.run_id for bar in found.bars] == list(range(1, 11))
    heights = [bar.height for bar in found.bars]
    assert heights == sorted(heights)
    assert heights[-1] == max(heights) == 76.0
    assert [level.words for level in found.levels] == ["half take less than 1 m", "95 of 100 take less than 1 m 40 s"]
    assert took_of(marks[:1]) is None
