"""Calendars, blackouts, pools, several schedules and dependencies: what the file says of them, and what is wrong."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from jobsup.config.diff import diff
from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    CalendarRule,
    DependsMode,
    DependsWhen,
    JobSpec,
    NamedCalendar,
    PoolSpec,
    ScheduleSpec,
)
from jobsup.schedule import upcoming
from tests.support.config_folder import NOW, Folder

UTC_DEFAULT = '[defaults]\ntimezone = "UTC"\n'


def job(lines: str, name: str = "a") -> str:
    return f'[[job]]\nname = "{name}"\ncommand = "true"\n{lines}\n'


def only_job(folder: Folder, text: str) -> JobSpec:
    (found,) = folder.load(UTC_DEFAULT + text).jobs
    return found


def calendar(folder: Folder, lines: str, name: str = "c") -> NamedCalendar:
    config = folder.load(UTC_DEFAULT + f"[calendars.{name}]\n{lines}\n")
    assert config.warnings == ()
    return next(each for each in config.shared.calendars if each.name == name)


def ics(*events: str, head: str = "") -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *head.split("\n")]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}", *event.split("\n"), "END:VEVENT"]
    return "\r\n".join([line for line in lines if line] + ["END:VCALENDAR", ""])


def from_ics(folder: Folder, text: str) -> NamedCalendar:
    folder.write(text, "days.ics")
    return calendar(folder, 'ics = "days.ics"')


def test_days_of_a_calendar_are_sorted_and_joined(folder: Folder) -> None:
    found = calendar(
        folder,
        'dates = [2026-05-14, "2026-01-03"]\nranges = [["2025-12-24", 2026-01-02], ["2026-01-01", "2026-01-02"]]\n'
        'yearly = ["12-25", "05-01", "12-25"]\nweekdays = ["sunday", "SAT"]',
    )
    assert found == NamedCalendar("c", ("2025-12-24/2026-01-03", "2026-05-14"), ("05-01", "12-25"), ("SAT", "SUN"))


def test_a_calendar_has_the_days_of_those_it_includes(folder: Folder) -> None:
    others = '[calendars.b]\ninclude = ["a"]\nyearly = ["01-01"]\n[calendars.a]\ndates = ["2026-05-01"]'
    found = calendar(folder, f'weekdays = ["SUN"]\ninclude = ["b"]\n{others}')
    assert found == NamedCalendar("c", ("2026-05-01",), ("01-01",), ("SUN",))


def test_the_days_of_an_ics_file_are_those_its_events_touch(folder: Folder) -> None:
    found = from_ics(
        folder,
        ics(
            "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227",
            "DTSTART;VALUE=DATE:20260501",
            "DTSTART;TZID=Europe/Berlin:20260703T220000\nDTEND;TZID=Europe/Berlin:20260704T030000",
            "DTSTART;TZID=Europe/Berlin:20260710T220000\nDTEND;TZID=Europe/Berlin:20260711T000000",
            "DTSTART:20260801T120000\nDURATION:PT1H",
            "DTSTART;VALUE=DATE:20260901\nSTATUS:CANCELLED",
        ),
    )
    assert found.days == (
        "2026-05-01",
        "2026-07-03/2026-07-04",
        "2026-07-10",
        "2026-08-01",
        "2026-12-24/2026-12-26",
    )


@pytest.mark.parametrize(("zone", "day"), [("", "2026-07-03"), ("X-WR-TIMEZONE:Asia/Tokyo", "2026-07-04")])
def test_a_time_in_utc_is_looked_at_in_the_zone_of_the_file(folder: Folder, zone: str, day: str) -> None:
    text = ics("DTSTART:20260703T220000Z\nDTEND:20260703T230000Z", head=zone)
    assert from_ics(folder, text).days == (day,)


def test_events_of_an_ics_file_come_again_by_their_rules(folder: Folder) -> None:
    found = from_ics(
        folder,
        ics(
            "DTSTART;VALUE=DATE:20201225\nDTEND;VALUE=DATE:20201227\nRRULE:FREQ=YEARLY",
            "DTSTART;VALUE=DATE:20201126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;UNTIL=20281231",
            "DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=4\nEXDATE;VALUE=DATE:20260112",
            "DTSTART;VALUE=DATE:20270301\nRDATE;VALUE=DATE:20270310",
        ),
    )
    assert found.yearly == ("12-25", "12-26")
    thursdays = {date(year, 11, 22 + (3 - date(year, 11, 22).weekday()) % 7).isoformat() for year in range(2020, 2029)}
    assert set(found.days) == {*thursdays, "2026-01-05", "2026-01-19", "2026-01-26", "2027-03-01", "2027-03-10"}


ICS_FAULTS = [
    ("nonsense", 1, 'is not a line of an ICS file: "nonsense"'),
    ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n", 3, "END:VCALENDAR closes nothing that is open"),
    ("BEGIN:VCALENDAR\nVERSION:2.0\n", 3, "BEGIN:VCALENDAR is not closed"),
    ("BEGIN:VEVENT\nEND:VEVENT\n", 1, "BEGIN:VEVENT stands outside of BEGIN:VCALENDAR"),
    (ics("DTSTART;VALUE=DATE:20260101", "DTSTART;VALUE=DATE:20261301"), 8, "the event cannot be read: "),
    (ics("SUMMARY:never"), 4, "the event has no DTSTART"),
    (ics("DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=FOO"), 4, "the event cannot be read: "),
    (ics("DTSTART:20260101T000000\nRRULE:FREQ=SECONDLY"), 4, "FREQ=SECONDLY is finer than days"),
    (ics("DTSTART:20260101T000000\nRRULE:FREQ=DAILY;BYSECOND=1"), 4, "BYSECOND= is finer than days"),
]


@pytest.mark.parametrize(("text", "line", "words"), ICS_FAULTS)
def test_what_is_wrong_in_an_ics_file_has_its_file_and_line(folder: Folder, text: str, line: int, words: str) -> None:
    folder.write(text, "days.ics")
    (problem,) = folder.problems('[calendars.c]\nics = "days.ics"')
    assert problem.startswith(f"days.ics:{line}: ")
    assert words in problem


CALENDAR_FAULTS = [
    ('dates = ["2026-02-30"]', 'dates[0]: "2026-02-30" is not a date like'),
    ('ranges = [["2026-01-02", "2026-01-01"]]', "ranges[0]: "),
    ('ranges = [["2026-01-02"]]', "ranges[0]: must be a first and a last date like"),
    ('yearly = ["02-30"]', 'yearly[0]: "02-30" is not a day of the year'),
    ('weekdays = ["SAM"]', 'weekdays[0]: "SAM" is not a weekday'),
    ('wekdays = ["SAT"]', 'wekdays: unknown key; did you mean "weekdays"?'),
    ('include = ["d"]', 'include[0]: there is no calendar "d"'),
    ('include = ["c"]', "include: includes itself: c -> c"),
    ('include = ["d"]\n[calendars.d]\ninclude = ["c"]', "include: includes itself: c -> d -> c"),
    ('ics = "gone.ics"', "ics: {here}/gone.ics cannot be read: No such file or directory"),
    ('ics = "."', "ics: {here} cannot be read: it is not a regular file"),
]


@pytest.mark.parametrize(("lines", "words"), CALENDAR_FAULTS)
def test_a_wrong_calendar_is_one_line_with_its_place(folder: Folder, lines: str, words: str) -> None:
    (line,) = folder.problems(f"[calendars.c]\n{lines}\n" + job('cron = "@daily"\nuse_calendar = "c"'))
    assert line.startswith("jobsup.toml:2: [calendars.c] ")
    assert words.format(here=folder.path) in line


def test_a_calendar_of_nothing_is_odd(folder: Folder) -> None:
    assert folder.warnings("[calendars.c]") == [
        "jobsup.toml:1: [calendars.c]: has no days: add dates, ranges, yearly, weekdays, ics or include"
    ]


def test_a_job_carries_the_calendar_that_it_uses(folder: Folder) -> None:
    days = '[calendars.holidays]\nyearly = ["06-02"]\n'
    found = only_job(folder, days + job('cron = "0 8 * * *"\nuse_calendar = "holidays"'))
    assert found.schedule.use_calendar == NamedCalendar("holidays", yearly=("06-02",))
    assert [tick.day for tick in upcoming(found.schedule, NOW, 2)] == [3, 4]
    shared = UTC_DEFAULT + 'use_calendar = "holidays"\ncalendar_rule = "only"\n' + days
    config = folder.load(shared + job('cron = "0 8 * * *"') + job('cron = "@daily"\nuse_calendar = ""', "b"))
    one, other = config.jobs
    assert (one.schedule.calendar_rule, one.schedule.use_calendar) == (CalendarRule.ONLY, config.shared.calendars[0])
    assert other.schedule.use_calendar is None


def test_business_days_go_by_the_calendar_of_the_job(folder: Folder) -> None:
    lines = 'calendar = { business_days = 2, at = "09:00", start_date = "2026-06-01" }'
    assert [tick.day for tick in upcoming(only_job(folder, job(lines)).schedule, NOW, 3)] == [3, 5, 9]
    days = '[calendars.c]\ndates = ["2026-06-02"]\n'
    with_days = only_job(folder, days + job(f'{lines}\nuse_calendar = "c"')).schedule
    assert [tick.day for tick in upcoming(with_days, NOW, 3)] == [4, 8, 10]


JOB_FAULTS = [
    ('use_calendar = "holydays"', 'use_calendar: there is no calendar "holydays": add [calendars.holydays]; did you'),
    ('cron = "0 0 2 6 *"\nuse_calendar = "holidays"', 'cron: it never fires: calendar "holidays" leaves out'),
    ('at = "2026-06-02T08:00"\nuse_calendar = "holidays"', "at: it never fires: 2026-06-02 is a day of calendar"),
    (
        'every = "1h"\nuse_calendar = "holidays"\ncalendar_rule = "next_business_day"',
        "every: calendar_rule next_business_day moves times of day",
    ),
    ('calendar_rule = "next"', "calendar_rule: must be one of skip, next_business_day, previous_business_day, only"),
    ('pool = "report"', 'pool: there is no pool "report": add report = N to [pools]; did you mean "reports"?'),
    ('jitter = "2d"', "jitter: must be between 0s and 1d"),
    ("queue_limit = 0", "queue_limit: must be between 1 and 100000, not 0"),
    ('depends_on = ["aa"]', 'depends_on[0]: there is no job "aa"; did you mean "a"?'),
    ('depends_on = ["a"]', "depends_on: goes in a circle: a -> a; break it"),
    ('depends_when = "any"', "depends_when: goes with depends_on only"),
    ('depends_on = ["b"]\nparams.p = { required = true }', "params.p: is required, but the job has depends_on, which"),
    ("schedules = []", "schedules: must hold 1 to 1000 items, not 0"),
    ('[[job.schedules]]\ntimezone = "UTC"', "schedules[0]: says no time: add one of cron, every,"),
    ('[[job.schedules]]\ncron = "61 * * * *"', "schedules[0].cron: cron '61 * * * *': minute"),
    ('[[job.schedules]]\ncorn = "61 * * * *"', 'schedules[0].corn: unknown key; did you mean "cron"?'),
    ('[[job.schedules]]\ncron = "@daily"\nat = "2099-01-01"', "schedules[0].at: a job has one schedule, and cron is"),
    ('[[job.schedules]]\nanchor = "2026-01-01"\ncron = "@daily"', "schedules[0].anchor: goes with every only"),
]


@pytest.mark.parametrize(("lines", "words"), JOB_FAULTS)
def test_a_wrong_key_of_a_job_is_one_line_with_its_place(folder: Folder, lines: str, words: str) -> None:
    before = job("", "b") + '[calendars.holidays]\nyearly = ["06-02"]\n[pools]\nreports = 2\n'
    (line,) = folder.problems(before + job(lines))
    assert f'[[job]] 2 "a" {words}' in line
    assert line.startswith("jobsup.toml:")


def test_several_schedules_are_one_with_what_each_says_and_the_job_says_for_all(folder: Folder) -> None:
    lines = (
        'cron = "0 8 * * *"\ntimezone = "Europe/Berlin"\n[[job.schedules]]\nevery = "6h"\nanchor = "2026-06-01"\n'
        '[[job.schedules]]\nat = "2026-06-02T12:00"\ntimezone = "Asia/Tokyo"\ndst = "skip"'
    )
    spec = only_job(folder, job(lines)).schedule
    assert (spec.cron, [each.timezone for each in spec.also]) == ("0 8 * * *", ["Europe/Berlin", "Asia/Tokyo"])
    assert spec.also[0].anchor == datetime(2026, 5, 31, 22, tzinfo=UTC)
    assert spec.also[1].at == datetime(2026, 6, 2, 3, tzinfo=UTC)
    assert [f"{tick:%d %H}" for tick in upcoming(spec, NOW, 5)] == ["01 16", "01 22", "02 03", "02 04", "02 06"]
    alone = only_job(folder, job('[[job.schedules]]\ncron = "@daily"\n[[job.schedules]]\ncron = "@hourly"')).schedule
    assert (alone.cron, [each.cron for each in alone.also]) == ("@daily", ["@hourly"])


def test_circles_of_dependencies_are_named_in_full_and_once(folder: Folder) -> None:
    text = "".join(
        job(f'depends_on = ["{other}"]', name)
        for name, other in (("start", "x"), ("x", "y"), ("y", "z"), ("z", "x"), ("own", "own"))
    )
    lines = folder.problems(text)
    assert [line.split(" depends_on: ")[1] for line in lines] == [
        "goes in a circle: x -> y -> z -> x; break it",
        "goes in a circle: own -> own; break it",
    ]


def test_a_long_chain_of_dependencies_is_no_trouble(folder: Folder) -> None:
    names = [f"j{n}" for n in range(1500)]
    text = job("", names[0]) + "".join(job(f'depends_on = ["{before}"]', name) for before, name in pairwise(names))
    assert len(folder.load(text).jobs) == 1500


def test_dependencies_pools_jitter_and_caps_are_read(folder: Folder) -> None:
    lines = (
        'depends_on = ["b", "c", "b"]\ndepends_when = "any"\ndepends_mode = "any"\npool = "db"\njitter = "30s"\n'
        "queue_limit = 7"
    )
    config = folder.load("[pools]\ndb = 3\nother = 1\n" + job(lines) + job("", "b") + job("enabled = false", "c"))
    found = config.jobs[0]
    assert (found.depends_on, found.depends_when, found.depends_mode) == (("b", "c"), DependsWhen.ANY, DependsMode.ANY)
    assert (found.pool, found.jitter, found.queue_limit) == ("db", timedelta(seconds=30), 7)
    assert config.shared.pools == (PoolSpec("db", 3), PoolSpec("other", 1))
    assert [str(each) for each in config.warnings] == [
        'jobsup.toml:7: [[job]] 1 "a" depends_on[1]: "c" is disabled: it ends only when it is run by hand'
    ]


def test_blackouts_are_read_in_their_zone(folder: Folder) -> None:
    config = folder.load(
        '[[blackout]]\nname = "b"\nfrom = "2026-07-01T20:00"\nuntil = 2026-07-02T08:00:00\ntimezone = "Europe/Berlin"\n'
        '[[blackout]]\nname = "a"\ncron = "0 1 * * *"\nduration = "2h"\njobs = ["db-*"]\ntags = ["t"]\nqueues = ["q"]\n'
        'policy = "skip"\ntimezone = "UTC"\n'
    )
    assert config.shared.blackouts == (
        BlackoutSpec(
            "a",
            schedule=ScheduleSpec(cron="0 1 * * *"),
            duration=timedelta(hours=2),
            jobs=("db-*",),
            tags=("t",),
            queues=("q",),
            policy=BlackoutPolicy.SKIP,
        ),
        BlackoutSpec("b", start=datetime(2026, 7, 1, 18, tzinfo=UTC), end=datetime(2026, 7, 2, 6, tzinfo=UTC)),
    )


BLACKOUT_FAULTS = [
    ("", "says no time: add from and until, or cron and duration"),
    ('from = "2026-07-01"', "says no time"),
    ('from = "2026-07-02"\nuntil = "2026-07-01"', "until: lies before from"),
    ('cron = "@daily"', "cron: says when the blackout begins, not how long it lasts: add duration"),
    ('cron = "@daily"\nduration = "25h"', "duration: is longer than from one begin to the next"),
    ('cron = "61 * * * *"\nduration = "1h"', "cron: cron '61 * * * *': minute"),
    ('cron = "@daily"\non_calendar = "daily"\nduration = "1h"', "on_calendar: a blackout has one schedule"),
    ('cron = "@daily"\nduration = "1h"\nuntil = "2026-07-01"', "cron: goes with from and until, or with duration"),
    ('from = "2026-07-01"\nuntil = "2026-07-02"\nduration = "1h"', "duration: goes with cron or on_calendar only"),
    ('cron = "@daily"\nduration = "1h"\njobs = ["a b"]', 'jobs[0]: "a b" is not a job\'s name'),
    ('form = "2026-07-01"\nuntil = "2026-07-02"\nfrom = "2026-07-01"', 'form: unknown key; did you mean "from"?'),
]


@pytest.mark.parametrize(("lines", "words"), BLACKOUT_FAULTS)
def test_a_wrong_blackout_is_one_line_with_its_place(folder: Folder, lines: str, words: str) -> None:
    (line,) = folder.problems(f'[[blackout]]\nname = "b"\n{lines}\n')
    assert line.startswith("jobsup.toml:")
    assert "[[blackout]] 1" in line
    assert words in line


SHARED_FAULTS = [
    ('[[blackout]]\nfrom = "2027-01-01"\nuntil = "2027-01-02"', "[[blackout]] 1: has no name"),
    ("[blackout]", "blackout: a blackout's table is written [[blackout]], with two brackets"),
    ("[pools]\ndb = 0", "[pools] db: must be how many runs may use it at a time, 1 to 100000, not 0"),
    ("[pools]\n'd b' = 1", '[pools] d b: "d b" is not a name'),
    ("pools = 3", "[pools]: must be one table, [pools], not 3"),
    ("calendars = 3", "[calendars]: is 3: write at most 1000 tables, [calendars.NAME]"),
    ("[calendars]\nc = 3", "[calendars.c]: must be a table, [calendars.c], not 3"),
    ("[calendar.c]", 'calendar: unknown table; did you mean "calendars"?'),
    ('[defaults]\npool = "x"', '[defaults] pool: there is no pool "x"'),
    ('[defaults]\nuse_calendar = "x"', '[defaults] use_calendar: there is no calendar "x"'),
]


@pytest.mark.parametrize(("text", "words"), SHARED_FAULTS)
def test_what_is_wrong_in_what_jobs_share_is_said_once(folder: Folder, text: str, words: str) -> None:
    lines = [line for line in folder.problems(text + "\n" + job('cron = "@daily"')) if "has no days" not in line]
    assert len(lines) == 1
    assert words in lines[0]


ODD = [
    ('every = "1m"\noverlap = "queue"', 'with overlap = "queue" they can wait for each other without end'),
    ('every = "1m"\noverlap = "allow"\ntimeout = "150s"', "up to 3 of them can go on at a time"),
    ('every = "1m"\noverlap = "replace"', "each of them can be ended by the next"),
    ('[[job.schedules]]\ncron = "0 3 * * *"\n[[job.schedules]]\ncron = "*/7 * * * *"', "schedules[1].cron: minute */7"),
    ('cron = "0 0 13 * 5"', "day of month 13 and day of week 5 are both given"),
    ('cron = "30 2 * * *"\ntimezone = "Europe/Berlin"', "a clock change in Europe/Berlin takes a time of it away"),
    ('on_calendar = "2003-01-01"', "it does not run any more: its last run was due at 2003-01-01T00:00:00Z"),
    (
        'cron = "0 9 * * *"\nuse_calendar = "past"\ncalendar_rule = "only"',
        "it does not run any more: its last run was due at 2025-03-01T09:00:00Z",
    ),
]


@pytest.mark.parametrize(("lines", "words"), ODD)
def test_a_suspicious_schedule_is_a_warning_with_its_line(folder: Folder, lines: str, words: str) -> None:
    (line,) = folder.warnings(UTC_DEFAULT + '[calendars.past]\ndates = ["2025-03-01"]\n' + job(lines))
    assert line.startswith("jobsup.toml:")
    assert words in line


def test_a_dense_schedule_that_skips_is_not_odd(folder: Folder) -> None:
    assert folder.warnings(job('every = "1m"')) == []
    assert folder.warnings(job('every = "1m"\noverlap = "queue"\ntimeout = "1m"')) == []


def test_what_changes_in_what_jobs_share_is_told(folder: Folder) -> None:
    before = '[calendars.c]\nyearly = ["12-25"]\n[calendars.gone]\nyearly = ["12-25"]\n[pools]\ndb = 1\n'
    after = '[calendars.c]\nyearly = ["12-25", "12-26"]\n[pools]\ndb = 2\n[[blackout]]\nname = "b"\n'
    after += 'cron = "0 1 * * *"\nduration = "1h"\n'
    used = job('cron = "0 1 * * *"\nuse_calendar = "c"')
    second = '[[job.schedules]]\ncron = "0 2 * * *"\n'
    old = folder.load(UTC_DEFAULT + before + used)
    new = folder.load(UTC_DEFAULT + after + used + second)
    assert diff(old, new).lines() == [
        '~ calendar c: yearly ["12-25"] -> ["12-25", "12-26"]',
        "- calendar gone",
        "+ blackout b",
        "~ pool db: places 1 -> 2",
        "~ job a: cron 0 1 * * * -> 0 1 * * * and also cron 0 2 * * *; use_calendar c -> c with other days",
    ]
