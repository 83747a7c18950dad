"""Named calendars: days in and out, ticks left out and moved, business days; held to a plain walk over dates."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobsup.model import CalendarRule, CalendarSpec, Dst, NamedCalendar, Reason, ScheduleSpec, Skip
from jobsup.schedule import Schedule, describe
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.days import WEEKDAYS, calendar_days, days_off
from tests.support.schedules import all_zones, backward, check_against, counted, forward, instant, refusal, schedule

DAY = timedelta(days=1)
EPOCH = date(1970, 1, 1)
HOLIDAYS = NamedCalendar(
    "holidays", days=("2026-04-03", "2026-04-06", "2026-12-24/2027-01-02"), yearly=("05-01", "12-25")
)
WEEKENDS = NamedCalendar("weekends", weekdays=("SAT", "SUN"))
LEAP = NamedCalendar("leap", yearly=("02-29",))
MIXED = NamedCalendar("mixed", days=("2026-06-01/2026-06-30",), yearly=("02-29", "03-29"), weekdays=("SUN",))
CALENDARS = (HOLIDAYS, WEEKENDS, LEAP, MIXED)


def has(calendar: NamedCalendar, day: date) -> bool:
    """Tell from its texts alone whether a calendar has a day."""
    ranges = [(text.split("/")[0], text.split("/")[-1]) for text in calendar.days]
    return (
        any(first <= day.isoformat() <= last for first, last in ranges)
        or day.isoformat()[5:] in calendar.yearly
        or WEEKDAYS[day.weekday()] in calendar.weekdays
    )


def is_business(calendar: NamedCalendar | None, day: date) -> bool:
    if calendar is None:
        return day.weekday() < 5
    return not has(calendar, day) and (bool(calendar.weekdays) or day.weekday() < 5)


def moved(calendar: NamedCalendar, day: date, step: int) -> date:
    while not is_business(calendar, day):
        day += step * DAY
    return day


def ruled(calendar: NamedCalendar, rule: CalendarRule, day: date) -> date | None:
    """Return the day that a tick of `day` runs on, None when it does not run."""
    if rule is CalendarRule.SKIP:
        return None if has(calendar, day) else day
    if rule is CalendarRule.ONLY:
        return day if has(calendar, day) else None
    return moved(calendar, day, 1 if rule is CalendarRule.NEXT_BUSINESS_DAY else -1)


def walked(base: list[datetime], calendar: NamedCalendar, rule: CalendarRule, zone: ZoneInfo) -> list[datetime]:
    """Lay each tick on the day that it runs on, at the same time of day."""
    ticks = set()
    for tick in base:
        local = tick.astimezone(zone)
        day = ruled(calendar, rule, local.date())
        if day == local.date():
            ticks.add(tick)
        elif day is not None:
            ticks.add(datetime.combine(day, local.time(), zone).astimezone(UTC))
    return sorted(ticks)


@pytest.mark.parametrize("calendar", CALENDARS, ids=lambda each: each.name)
@pytest.mark.parametrize("inside", [True, False])
def test_days_are_found_and_counted_in_both_directions(calendar: NamedCalendar, inside: bool) -> None:
    found, first = calendar_days(calendar), date(2023, 12, 1)
    days = [(first + n * DAY, (first - EPOCH).days + n) for n in range(1600)]
    wanted = [number for day, number in days if has(calendar, day) == inside]
    for _, number in days[:1300]:
        assert found.next(number, inside=inside) == next((each for each in wanted if each >= number), None)
    for _, number in days[900:]:
        assert found.last(number, inside=inside) == next((each for each in reversed(wanted) if each <= number), None)
    rng = random.Random(1)
    for _ in range(100):
        start, end = sorted(rng.sample(range(days[0][1], days[-1][1]), 2))
        between = [each for each in wanted if start <= each < end]
        assert found.count(start, end, inside=inside) == len(between)
        if between:
            number = rng.randrange(len(between))
            assert found.nth(start, number, inside=inside) == between[number]


def test_days_that_overlap_and_the_ends_of_time_are_no_trouble() -> None:
    over = calendar_days(NamedCalendar("o", days=("2026-01-01/2026-12-31", "2026-03-01/2026-03-05", "2026-05-01")))
    june = (date(2026, 6, 1) - EPOCH).days
    assert over.next(june, inside=True) == june
    assert over.count(june, june + 1000, inside=True) == (date(2027, 1, 1) - date(2026, 6, 1)).days
    everything = calendar_days(NamedCalendar("all", weekdays=WEEKDAYS))
    assert everything.next(june, inside=False) is None
    assert everything.last(june, inside=False) is None
    assert over.next(10**9, inside=False) is None
    assert over.last(-(10**9), inside=False) is None
    assert over.count(-(10**9), 10**9, inside=False) > 3_600_000


PATTERNS: list[dict[str, object]] = [
    {"cron": "30 7 * * *"},
    {"cron": "0 9,17 1,15 * *"},
    {"cron": "*/20 8-9 * * 5-7"},
    {"cron": "0 12 L * *"},
    {"on_calendar": "Fri,Sat,Mon 06:15"},
    {"calendar": CalendarSpec(days=3, at="23:59:30", start_date="2025-11-01")},
    {"calendar": CalendarSpec(months=1, at="00:00", start_date="2025-12-31")},
]


@pytest.mark.parametrize("rule", CalendarRule)
@pytest.mark.parametrize("calendar", CALENDARS[:2] + CALENDARS[3:], ids=lambda each: each.name)
@pytest.mark.parametrize("keys", PATTERNS, ids=str)
def test_a_calendar_rules_each_kind_of_wall_schedule(
    keys: dict[str, object], calendar: NamedCalendar, rule: CalendarRule
) -> None:
    start, end = instant("2025-11-20T00:00Z"), instant("2027-04-01T00:00Z")
    base = forward(schedule(**keys), start - 60 * DAY, end + 60 * DAY)
    wanted = [tick for tick in walked(base, calendar, rule, ZoneInfo("UTC")) if start <= tick < end]
    made = schedule(**keys, use_calendar=calendar, calendar_rule=rule)
    check_against(made, wanted, start, end, f"{keys} {calendar.name} {rule}")


@pytest.mark.parametrize("rule", [CalendarRule.SKIP, CalendarRule.ONLY])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "America/Sao_Paulo"])
def test_days_are_the_days_of_the_schedules_own_zone(zone: str, rule: CalendarRule) -> None:
    info, start, end = ZoneInfo(zone), instant("2011-01-01T00:00Z"), instant("2012-02-01T00:00Z")
    every = {"every": timedelta(minutes=187), "anchor": instant("2010-01-01T00:00:00.5Z")}
    for keys in ({"cron": "*/30 0-2,22-23 * * *"}, {"cron": "15 5,22 * * *"}, every):  # most of them about midnight
        base = forward(schedule(**keys, timezone=zone), start, end)
        wanted = walked(base, MIXED, rule, info)
        made = schedule(**keys, timezone=zone, use_calendar=MIXED, calendar_rule=rule)
        check_against(made, wanted, start, end, f"{keys} {zone} {rule}")


def test_a_sample_of_zones_and_calendars_agrees_with_a_walk_over_dates() -> None:
    rng = random.Random(8)
    zones = all_zones()
    for _ in range(60):
        zone = rng.choice(zones)
        text = f"{rng.randrange(60)} {rng.randrange(24)} * * {rng.choice(('*', '1-5', '0,6', '3'))}"
        calendar, rule = rng.choice(CALENDARS), rng.choice((CalendarRule.SKIP, CalendarRule.ONLY))
        start = datetime(rng.randint(2000, 2090), rng.randint(1, 12), 1, tzinfo=UTC)
        spec = ScheduleSpec(cron=text, timezone=zone, use_calendar=calendar, calendar_rule=rule)
        if refusal(spec):
            continue
        base = forward(schedule(cron=text, timezone=zone), start, start + 400 * DAY)
        wanted = walked(base, calendar, rule, ZoneInfo(zone))
        made = compile_schedule(spec)
        assert made is not None
        check_against(made, wanted, start, start + 400 * DAY, str(spec))


def test_a_moved_time_keeps_its_time_of_day_over_a_clock_change() -> None:
    made = schedule(
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        use_calendar=WEEKENDS,
        calendar_rule=CalendarRule.NEXT_BUSINESS_DAY,
    )
    around = forward(made, instant("2026-03-27T12:00Z"), instant("2026-03-31T12:00Z"))
    assert around == [instant("2026-03-30T00:30Z"), instant("2026-03-31T00:30Z")]


@pytest.mark.parametrize(
    ("text", "rule", "at", "words"),
    [
        ("0 8 1 * *", "next_business_day", "2026-08-03T08:00Z", 'moved from 2026-08-01: calendar "weekends"'),
        ("0 8 1 * *", "previous_business_day", "2026-07-31T08:00Z", 'moved from 2026-08-01: calendar "weekends"'),
        ("0 8 * * *", "next_business_day", "2026-08-03T08:00Z", "merged with 2026-08-01, 2026-08-02: calendar"),
        ("0 8 * * 0,6", "next_business_day", "2026-08-03T08:00Z", "merged 2026-08-01, 2026-08-02 into one: calendar"),
        ("0 8 * * *", "next_business_day", "2026-08-04T08:00Z", None),
        ("0 8 * * *", "next_business_day", "2026-08-04T08:00:01Z", None),
    ],
)
def test_a_tick_that_a_calendar_moved_says_so(text: str, rule: str, at: str, words: str | None) -> None:
    note = schedule(cron=text, use_calendar=WEEKENDS, calendar_rule=CalendarRule(rule)).note(instant(at))
    assert note is None if words is None else note is not None and note.startswith(words)


def test_ticks_left_out_are_told_a_day_at_a_time_and_once() -> None:
    made = schedule(cron="0 * * * *", timezone="Europe/Berlin", use_calendar=WEEKENDS)
    start, end = instant("2026-03-23T00:00Z"), instant("2026-04-06T12:00Z")
    told = made.skipped_between(start, end)
    assert [(each.count, each.reason) for each in told] == [
        (24, Reason.CALENDAR),
        *[(2, Reason.CALENDAR), (21, Reason.CALENDAR)],  # the day of the clock change, before and after it
        *[(24, Reason.CALENDAR)] * 2,
    ]
    assert told[0] == Skip(instant("2026-03-27T23:00Z"), instant("2026-03-28T22:00Z"), 24, Reason.CALENDAR)
    for hours in range(0, 340, 7):
        middle = start + timedelta(hours=hours)
        assert made.skipped_between(start, middle) + made.skipped_between(middle, end) == told
    plain = schedule(cron="0 * * * *", timezone="Europe/Berlin")
    assert counted(plain, start, end) == counted(made, start, end) + sum(each.count for each in told)


def test_a_calendar_and_a_gap_are_both_told() -> None:
    made = schedule(cron="30 2 * * *", timezone="Europe/Berlin", dst=Dst.SKIP, use_calendar=LEAP)
    only = NamedCalendar("sat", weekdays=("SAT",))
    other = schedule(cron="30 2 * * *", timezone="Europe/Berlin", dst=Dst.SKIP, use_calendar=only)
    spring = (instant("2024-02-28T12:00Z"), instant("2024-04-01T12:00Z"))
    assert [each.reason for each in made.skipped_between(*spring)] == [Reason.CALENDAR, Reason.DST_GAP]
    assert [each.reason for each in other.skipped_between(*spring)][-2:] == [Reason.CALENDAR, Reason.DST_GAP]


@pytest.mark.parametrize("calendar", [None, *CALENDARS], ids=lambda each: each.name if each else "none")
@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("start", ["2026-01-01", "2026-01-03", "2025-12-24"])
def test_business_days_are_stepped_from_the_start(calendar: NamedCalendar | None, step: int, start: str) -> None:
    spec = CalendarSpec(business_days=step, at="07:30", start_date=start)
    made = schedule(calendar=spec, use_calendar=calendar)
    first, end = date.fromisoformat(start), date(2027, 3, 1)
    days = [first + n * DAY for n in range((end - first).days)]
    chosen = [day for day in days if is_business(calendar, day)][::step]
    wanted = [datetime.combine(day, time(7, 30), UTC) for day in chosen]
    begin = instant("2025-12-01T00:00Z")
    check_against(made, wanted, begin, instant("2027-03-01T00:00Z"), f"{start} {step}")
    for _ in range(20):
        after = begin + timedelta(minutes=random.Random(step).randrange(600_000))
        assert made.next_after(after) == next((tick for tick in wanted if tick > after), made.next_after(after))


def test_days_off_are_the_weekend_unless_the_calendar_has_its_own() -> None:
    friday = NamedCalendar("gulf", days=("2026-08-03",), weekdays=("FRI", "SAT"))
    sunday, monday = ((date(2026, 8, n) - EPOCH).days for n in (2, 3))
    assert sunday in days_off(None)
    assert sunday in days_off(HOLIDAYS)
    assert sunday not in days_off(friday)
    assert monday in days_off(friday)


NEVER: list[tuple[dict[str, object], NamedCalendar, CalendarRule]] = [
    ({"cron": "0 0 * * 6,0"}, WEEKENDS, CalendarRule.SKIP),
    ({"cron": "0 0 25 12 *"}, HOLIDAYS, CalendarRule.SKIP),
    ({"cron": "0 0 1 2 *"}, LEAP, CalendarRule.ONLY),
    ({"cron": "0 0 * * *"}, NamedCalendar("all", weekdays=WEEKDAYS), CalendarRule.NEXT_BUSINESS_DAY),
    ({"every": timedelta(hours=5)}, NamedCalendar("all", weekdays=WEEKDAYS), CalendarRule.SKIP),
    ({"every": timedelta(hours=5)}, NamedCalendar("none"), CalendarRule.ONLY),
    ({"at": instant("2026-12-25T12:00Z")}, HOLIDAYS, CalendarRule.SKIP),
    ({"at": instant("2026-12-03T12:00Z")}, HOLIDAYS, CalendarRule.ONLY),
]


@pytest.mark.parametrize(("keys", "calendar", "rule"), NEVER, ids=str)
def test_what_a_calendar_never_lets_fire_is_refused(
    keys: dict[str, object], calendar: NamedCalendar, rule: CalendarRule
) -> None:
    problem = refusal(ScheduleSpec(**keys, use_calendar=calendar, calendar_rule=rule))  # type: ignore[arg-type]
    assert problem.startswith("it never fires")
    assert calendar.name in problem


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cron": "@reboot", "use_calendar": WEEKENDS}, "take use_calendar out"),
        (
            {"every": timedelta(hours=1), "use_calendar": WEEKENDS, "calendar_rule": CalendarRule.NEXT_BUSINESS_DAY},
            "every has none",
        ),
        ({"cron": "@daily", "use_calendar": NamedCalendar("x", days=("2026-13-01",))}, "'2026-13-01' is not a date"),
        ({"cron": "@daily", "use_calendar": NamedCalendar("x", days=("2026-02-01/2026-01-01",))}, "ends before"),
        ({"cron": "@daily", "use_calendar": NamedCalendar("x", yearly=("02-30",))}, "not a day of the year"),
        ({"cron": "@daily", "use_calendar": NamedCalendar("x", weekdays=("SAMSTAG",))}, "not a weekday"),
    ],
)
def test_a_calendar_that_does_not_fit_is_refused(keys: dict[str, object], words: str) -> None:
    assert words in refusal(ScheduleSpec(**keys))  # type: ignore[arg-type]


def test_one_instant_is_moved_over_a_clock_change_to_the_same_time_of_day() -> None:
    at = instant("2026-03-28T01:30Z")  # Saturday, 02:30 in Berlin
    made = schedule(
        at=at, timezone="Europe/Berlin", use_calendar=WEEKENDS, calendar_rule=CalendarRule.NEXT_BUSINESS_DAY
    )
    assert made.next_after(at) == instant("2026-03-30T00:30Z")
    assert (made.note(instant("2026-03-30T00:30Z")) or "").startswith("moved from 2026-03-28")
    kept = schedule(at=at, use_calendar=WEEKENDS, calendar_rule=CalendarRule.ONLY)
    assert kept.next_after(instant("2026-01-01T00:00Z")) == at


def test_calendars_are_told_in_words() -> None:
    spec = ScheduleSpec(cron="@daily", use_calendar=HOLIDAYS)
    assert describe(spec) == "at 00:00, not on the days of calendar holidays"
    days = ScheduleSpec(calendar=CalendarSpec(business_days=2, at="07:30"))
    assert describe(days) == "every 2 business days at 07:30 from 2000-01-01"


FIVE_YEARS = (instant("2020-01-01T00:00Z"), instant("2025-01-01T00:00Z"))


@pytest.mark.parametrize("rule", CalendarRule)
def test_five_years_under_a_calendar_are_counted_and_searched_quickly(rule: CalendarRule) -> None:
    made = schedule(cron="* * * * * *", timezone="Europe/Berlin", use_calendar=WEEKENDS, calendar_rule=rule)
    made.count_between(*FIVE_YEARS)
    took = _seconds(lambda: made.count_between(*FIVE_YEARS))
    assert took < 0.25
    assert _seconds(lambda: made.next_after(FIVE_YEARS[0])) < 0.01
    assert _seconds(lambda: made.last_before(FIVE_YEARS[1])) < 0.01


def _seconds(work: Callable[[], object]) -> float:
    import time as clock

    began = clock.process_time()
    work()
    return clock.process_time() - began


def test_both_directions_agree_under_every_rule_in_odd_zones() -> None:
    rng = random.Random(3)
    for zone in ("America/St_Johns", "Asia/Beirut", "Africa/Casablanca", "Pacific/Apia"):
        for rule in CalendarRule:
            text = f"{rng.randrange(60)} 0-3,23 * * *"
            made: Schedule = schedule(cron=text, timezone=zone, use_calendar=MIXED, calendar_rule=rule)
            for year in (2008, 2011, 2026):
                start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 2, 1, tzinfo=UTC)
                ticks = forward(made, start, end)
                assert ticks == sorted(set(ticks)) == backward(made, start, end)
                assert counted(made, start, end) == len(ticks) > 20
