"""What a clock change does to a schedule, story by story."""

from datetime import timedelta

import pytest

from jobsup.errors import ScheduleError
from jobsup.model import Dst, Reason, ScheduleSpec, Skip
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule import explain, fingerprint
from tests.support.schedules import backward, counted, forward, instant, schedule

BERLIN = "Europe/Berlin"
SPRING = instant("2024-03-31T01:00Z")  # 02:00 -> 03:00
AUTUMN = instant("2024-10-27T01:00Z")  # 03:00 -> 02:00
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def utc_times(made: object, start: str, end: str) -> list[str]:
    return [tick.strftime("%d %H:%M") for tick in forward(made, instant(start), instant(end))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "zone", "start", "end", "wanted"),
    [
        # a fixed time in the gap runs right after it; several of them are one tick
        ("30 2 * * *", BERLIN, "2024-03-30T12:00Z", "2024-04-01T12:00Z", ["31 01:00", "01 00:30"]),
        ("0,15,30 2 * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T12:00Z", ["31 01:00"]),
        ("30 2,3 * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T12:00Z", ["31 01:00", "31 01:30"]),
        ("0 2,3 * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T12:00Z", ["31 01:00"]),
        # a wildcard follows real time: nothing in the gap is caught up
        ("*/30 2 * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T12:00Z", []),
        ("*,5 2 * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T12:00Z", []),
        ("30 * * * *", BERLIN, "2024-03-31T00:00Z", "2024-03-31T03:00Z", ["31 00:30", "31 01:30", "31 02:30"]),
        # a repeated fixed time runs in the first pass, a wildcard in both
        ("30 2 * * *", BERLIN, "2024-10-26T22:00Z", "2024-10-27T12:00Z", ["27 00:30"]),
        ("30 * * * *", BERLIN, "2024-10-27T00:00Z", "2024-10-27T03:00Z", ["27 00:30", "27 01:30", "27 02:30"]),
        ("0-59/30 2 * * *", BERLIN, "2024-10-26T22:00Z", "2024-10-27T12:00Z", ["27 00:00", "27 00:30"]),
        # half an hour
        ("15 2 * * *", "Australia/Lord_Howe", "2024-10-05T12:00Z", "2024-10-06T12:00Z", ["05 15:30"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2024-04-06T12:00Z", "2024-04-07T12:00Z", ["06 14:45"]),
        # one minute past midnight, back into the day before
        ("0 0 * * *", "America/St_Johns", "2008-11-01T12:00Z", "2008-11-03T00:00Z", ["02 02:30"]),
        ("30 23 * * *", "America/St_Johns", "2008-11-01T12:00Z", "2008-11-03T12:00Z", ["02 02:00", "03 03:00"]),
        # midnight itself is in the gap
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", "2018-11-05T12:00Z", ["04 03:00", "05 02:00"]),
        ("30 0 * * 0", "Asia/Beirut", "2022-03-26T00:00Z", "2022-03-28T00:00Z", ["26 22:00"]),
        # Ramadan: the clock goes back in spring and forward again
        ("30 2 * * *", "Africa/Casablanca", "2024-03-09T12:00Z", "2024-03-10T12:00Z", ["10 01:30"]),
        ("30 2 * * *", "Africa/Casablanca", "2024-04-13T12:00Z", "2024-04-14T12:00Z", ["14 02:00"]),
        # a day that does not exist is no gap
        ("30 2 * * *", "Pacific/Apia", "2011-12-29T00:00Z", "2011-12-31T00:00Z", ["29 12:30", "30 12:30"]),
        ("30 2 30 12 *", "Pacific/Apia", "2011-12-25T00:00Z", "2012-12-25T00:00Z", []),
        # three hours exactly are a correction forwards, and still a repeat backwards
        ("30 2 * * *", "Antarctica/Casey", "2009-10-17T12:00Z", "2009-10-18T12:00Z", []),
        ("0 1 * * *", "Antarctica/Casey", "2010-03-04T00:00Z", "2010-03-05T00:00Z", ["04 14:00"]),
        # standard time itself moves
        ("45 23 * * *", "Asia/Pyongyang", "2018-05-04T00:00Z", "2018-05-05T00:00Z", ["04 15:00"]),
        ("45 2 * * *", "America/Caracas", "2016-05-01T00:00Z", "2016-05-02T00:00Z", ["01 07:00"]),
    ],
)
def test_debian_crons_rule(text: str, zone: str, start: str, end: str, wanted: list[str]) -> None:
    made = schedule(cron=text, timezone=zone)
    assert utc_times(made, start, end) == wanted
    assert backward(made, instant(start), instant(end)) == forward(made, instant(start), instant(end))
    assert counted(made, instant(start), instant(end)) == len(wanted)


def test_a_start_inside_the_second_pass_does_not_fire_again() -> None:
    made = schedule(cron="30 2 * * *", timezone=BERLIN)
    assert made.next_after(AUTUMN + timedelta(minutes=10)) == instant("2024-10-28T01:30Z")
    assert made.last_before(AUTUMN + timedelta(minutes=40)) == instant("2024-10-27T00:30Z")


def test_a_start_inside_the_second_pass_given_as_local_time_is_told_apart() -> None:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    made = schedule(cron="45 * * * *", timezone=BERLIN)
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo(BERLIN))
    assert made.next_after(first) == instant("2024-10-27T00:45Z")
    assert made.next_after(first.replace(fold=1)) == instant("2024-10-27T01:45Z")


def test_skip_leaves_the_gap_out_and_tells_of_it() -> None:
    made = schedule(cron="30 2 * * *", timezone=BERLIN, dst=Dst.SKIP)
    assert made.next_after(SPRING - HOUR) == SPRING + DAY - timedelta(minutes=30)
    assert made.skipped_between(SPRING - HOUR, SPRING) == [Skip(SPRING, SPRING, 1, Reason.DST_GAP)]
    assert made.skipped_between(SPRING, SPRING + DAY) == []
    assert made.skipped_between(SPRING - HOUR, SPRING - timedelta(seconds=1)) == []
    assert made.count_between(SPRING - HOUR, SPRING + HOUR) == 0
    assert schedule(cron="30 2 * * *", timezone=BERLIN).skipped_between(SPRING - HOUR, SPRING + HOUR) == []


def test_skip_has_nothing_to_tell_when_a_run_starts_at_the_end_of_the_gap_anyway() -> None:
    made = schedule(cron="0 2,3 * * *", timezone=BERLIN, dst=Dst.SKIP)
    assert forward(made, SPRING - HOUR, SPRING + HOUR) == [SPRING]
    assert made.skipped_between(SPRING - HOUR, SPRING + HOUR) == []


def test_skip_runs_a_repeated_time_once_and_both_runs_it_twice() -> None:
    window = (AUTUMN - 2 * HOUR, AUTUMN + 2 * HOUR)
    once = schedule(cron="30 2 * * *", timezone=BERLIN, dst=Dst.SKIP)
    twice = schedule(cron="30 2 * * *", timezone=BERLIN, dst=Dst.BOTH)
    half = timedelta(minutes=30)
    assert forward(once, *window) == [AUTUMN - half]
    assert forward(twice, *window) == backward(twice, *window) == [AUTUMN - half, AUTUMN + half]
    assert counted(twice, *window) == 2
    assert forward(twice, SPRING - HOUR, SPRING + HOUR) == [SPRING]


def test_what_only_ever_falls_into_a_gap_that_is_skipped_is_refused() -> None:
    lost = "30 2 */1 3 0L"  # the last Sunday of March, when Berlin's clock goes from 02:00 to 03:00
    with pytest.raises(ScheduleError, match=r"never fires: .*Europe/Berlin"):
        compile_schedule(ScheduleSpec(cron=lost, timezone=BERLIN, dst=Dst.SKIP))
    assert schedule(cron=lost, timezone=BERLIN).next_after(SPRING - DAY) == SPRING
    assert schedule(cron=lost, timezone="Asia/Tokyo", dst=Dst.SKIP).next_after(SPRING) is not None


def test_a_zones_fingerprint_differs_with_its_rules_and_not_with_its_name() -> None:
    assert fingerprint(BERLIN, 2026) == fingerprint("Europe/Paris", 2026)
    assert fingerprint(BERLIN, 2026) != fingerprint("Europe/London", 2026)
    assert fingerprint("Asia/Pyongyang", 2017) != fingerprint("Asia/Seoul", 2017)


@pytest.mark.parametrize(
    ("text", "tick", "words"),
    [
        ("30 2 * * *", SPRING, "moved from 02:30"),
        ("0,30 2 * * *", SPRING, "merged 02:00, 02:30 into one"),
        ("30 2 * * *", AUTUMN - timedelta(minutes=30), "repeated: 02:30 comes twice, this is the first time"),
        ("30 * * * *", AUTUMN + timedelta(minutes=30), "repeated: 02:30 comes twice, this is the second time"),
        ("0 2,3 * * *", SPRING, "merged with 02:00"),
    ],
)
def test_a_tick_that_a_change_touched_is_marked(text: str, tick: object, words: str) -> None:
    note = schedule(cron=text, timezone=BERLIN).note(tick)  # type: ignore[arg-type]
    assert note is not None
    assert note.startswith(words)


def test_an_ordinary_tick_and_what_is_no_tick_have_no_note() -> None:
    made = schedule(cron="30 2 * * *", timezone=BERLIN)
    assert made.note(instant("2024-06-01T00:30Z")) is None
    assert made.note(SPRING + timedelta(seconds=1)) is None
    assert made.note(AUTUMN + timedelta(minutes=30)) is None


def test_explaining_shows_words_ticks_notes_and_warnings_side_by_side() -> None:
    told = explain(ScheduleSpec(cron="30 2 * * *", timezone=BERLIN), SPRING - HOUR, 2)
    assert told.words == "at 02:30, Europe/Berlin time"
    assert told.next == (SPRING, SPRING + DAY - timedelta(minutes=30))
    assert told.notes[0].startswith("moved")
    assert told.notes[1] == ""
    assert any("every year" in warning for warning in told.warnings)


@pytest.mark.parametrize(
    ("text", "zone", "words"),
    [
        ("*/7 * * * *", "UTC", "minute */7 is not every 7 minutes"),
        ("0 */5 * * *", "UTC", "hour */5 is not every 5 hours"),
        ("*/60 * * * *", "UTC", "larger than the range"),
        ("0 0 */2 * *", "UTC", "not every 2 days"),
        ("0 0 1 * 5", "UTC", "match either"),
        ("0 0 */2 * 5", "UTC", "match both"),
        ("30 2 * * *", BERLIN, "every year"),
        ("30 0 * * *", "America/Santiago", "every year"),
    ],
)
def test_a_suspicious_schedule_is_warned_about(text: str, zone: str, words: str) -> None:
    assert any(words in warning for warning in schedule(cron=text, timezone=zone).warnings)


@pytest.mark.parametrize(
    ("text", "zone"),
    [("*/5 * * * *", BERLIN), ("0 0 * * 1-5", BERLIN), ("30 2 * * *", "Asia/Tokyo"), ("*/15 2 * * *", BERLIN)],
)
def test_a_plain_schedule_has_no_warning(text: str, zone: str) -> None:
    assert schedule(cron=text, timezone=zone).warnings == ()


def test_an_error_is_raised_for_a_schedule_that_cannot_be_explained() -> None:
    with pytest.raises(ScheduleError, match="minute"):
        explain(ScheduleSpec(cron="61 * * * *"), SPRING, 1)
