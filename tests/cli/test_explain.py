"""`jobsup explain`, for one and for thousands."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.support.command import JOBSUP
from tests.support.command import forked as jobsup
from tests.support.waiting import PATIENCE


def batch(*lines: Any) -> list[dict[str, Any]]:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = jobsup("explain", "--batch", stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_person_is_told_words_and_instants() -> None:
    done = jobsup("explain", "30 2 * * mon", "--tz", "Europe/Berlin", "--at", "2026-01-01T00:00:00Z", "-n", "2")
    assert done.returncode == 0
    assert "Monday" in done.stdout
    assert "Mon 2026-01-05 02:30:00 CET  2026-01-05T01:30:00Z" in done.stdout
    assert len(done.stdout.splitlines()) == 4


def test_json_has_the_instants_and_nothing_else_on_standard_output() -> None:
    at = ("--at", "2026-01-01T00:00:00Z")
    done = jobsup("explain", "0 3 * * *", "--tz", "UTC", *at, "-n", "2", "--json")
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    assert answer["next"] == ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]


def test_a_clock_change_is_noted() -> None:
    [answer] = batch({"cron": "30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-03-28T12:00:00Z", "n": 1})
    assert answer["next"] == ["2026-03-29T01:00:00Z"]
    assert answer["notes"][0].startswith("moved")


def test_a_bad_expression_is_one_line_and_the_code_for_configurations() -> None:
    done = jobsup("explain", "61 * * * *")
    assert done.returncode == 7
    assert done.stdout == ""
    assert done.stderr.startswith("jobsup: ")
    assert "61" in done.stderr


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"cron": "0 3 * * *"}, ["2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"]),
        ({"cron": "0 3 * * *", "after": "2026-01-01T04:00:00+01:00"}, ["2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"]),
        ({"cron": "0 3 * * *", "after": "2026-01-01T02:59:59.999999Z", "n": 1}, ["2026-01-01T03:00:00Z"]),
        ({"every": "90s"}, ["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]),
        ({"every": 90}, ["2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"]),
        ({"every": 1.5, "n": 1}, ["2026-01-01T00:00:01.500000Z"]),
        ({"every": "1h", "anchor": "2026-01-01T00:20:00Z", "n": 1}, ["2026-01-01T00:20:00Z"]),
        ({"calendar": {"months": 1, "at": "03:00", "start_date": "2025-12-31"}, "n": 1}, ["2026-01-31T03:00:00Z"]),
        ({"on_calendar": "*-*-* 03:00", "n": 1}, ["2026-01-01T03:00:00Z"]),
        ({"at": "2026-06-01T12:00:00Z"}, ["2026-06-01T12:00:00Z"]),
        ({"at": "2026-06-01T12:00:00", "timezone": "Asia/Tokyo"}, ["2026-06-01T03:00:00Z"]),
        ({"at": "2025-01-01T00:00:00Z"}, []),
        ({"cron": "* * * * *", "n": 0}, []),
        ({"cron": "0 5 * * *", "schedules": [{"every": "4h"}]}, ["2026-01-01T04:00:00Z", "2026-01-01T05:00:00Z"]),
        (
            {"schedules": [{"cron": "0 5 * * *", "timezone": "Asia/Tokyo"}, {"cron": "0 5 * * *"}]},
            ["2026-01-01T05:00:00Z", "2026-01-01T20:00:00Z"],
        ),
    ],
)
def test_every_kind_of_schedule_is_answered(question: dict[str, Any], expected: list[str]) -> None:
    [answer] = batch({"timezone": "UTC", "after": "2026-01-01T00:00:00Z", "n": 2, **question})
    assert answer.get("error") is None
    assert answer["next"] == expected


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("nonsense", "not a JSON object"),
        ("[1, 2]", "one JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ({}, "no schedule"),
        ({"cron": "61 * * * *"}, "61"),
        ({"cron": 5}, "cron: must be text"),
        ({"cron": "0 3 * * *", "every": "1h"}, "both"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"cron": "0 3 * * *", "after": "2026-01-01T00:00:00"}, "has no offset"),
        ({"cron": "0 3 * * *", "after": "soon"}, "is no time"),
        ({"cron": "0 3 * * *", "n": "many"}, "n: must be a whole number"),
        ({"cron": "0 3 * * *", "n": -1}, "n: must be a whole number"),
        ({"cron": "0 3 * * *", "dst": "maybe"}, "dst: must be one of"),
        ({"every": "0s"}, "0"),
        ({"every": "often"}, "every"),
        ({"every": 1e300}, "every"),
        ({"every": True}, "every: must be"),
        ({"calendar": {"moons": 1}}, "unknown key 'moons'"),
        ({"calendar": {"days": "1"}}, "calendar.days: must be a whole number"),
        ({"on_calendar": "never"}, "never"),
        ({"at": "yesterday"}, "at: 'yesterday' is no time"),
        ({"cron": "0 3 * * *", "timezone": ""}, "timezone '' is unknown"),
        ({"cron": "0 3 * * *", "schedules": "0 4 * * *"}, "schedules: must be a list of objects"),
        ({"schedules": [{"timezone": "UTC"}]}, "schedules[0]: must be an object with one of cron"),
        ({"schedules": [{"cron": "0 4 * * *", "every": "1h"}]}, "both"),
    ],
)
def test_what_is_wrong_is_the_answer_and_the_next_question_is_still_answered(question: Any, words: str) -> None:
    answers = batch(question, {"every": "1h", "after": "2026-01-01T00:00:00Z", "n": 1})
    assert words in answers[0]["error"]
    assert "next" not in answers[0]
    assert answers[1]["next"] == ["2026-01-01T01:00:00Z"]


def test_an_unknown_key_is_told_and_a_jobs_other_keys_are_not() -> None:
    [answer] = batch({"cron": "0 3 * * *", "timezon": "UTC", "name": "x", "command": "true"})
    assert answer["warnings"] == ["unknown key 'timezon' is passed over"]
    [answer] = batch({"cron": "0 3 * * *", "use_calendar": "closed"})
    assert answer["warnings"] == [
        "use_calendar is passed over: calendars stand in a configuration, and none is read here"
    ]


def test_each_answer_comes_before_the_next_question_is_asked() -> None:
    with subprocess.Popen([JOBSUP, "explain", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for hour in range(3):
            question = {"cron": f"0 {hour} * * *", "timezone": "UTC", "after": "2026-01-01T12:00:00Z", "n": 1}
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) | {"words": ""} == {
                "next": [f"2026-01-02T0{hour}:00:00Z"],
                "words": "",
                "timezone": "UTC",
            }
        process.stdin.close()
        assert process.wait(timeout=PATIENCE) == 0


def test_a_line_without_end_is_refused_and_passed_over() -> None:
    answers = batch('{"cron": "' + "x" * (2 << 20) + '"}', {"every": "1h", "after": "2026-01-01T00:00:00Z", "n": 1})
    assert "bytes" in answers[0]["error"]
    assert answers[1]["next"] == ["2026-01-01T01:00:00Z"]
