"""A job's definition as a document: nothing is lost on the way, and equal jobs have equal hashes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobsup.config.document import (
    TICK_RULES,
    config_hash,
    jobspec_from_dict,
    jobspec_to_dict,
    setspec_from_dict,
    setspec_to_dict,
    stored_document,
    tick_rules,
)
from jobsup.model import (
    BlackoutPolicy,
    BlackoutSpec,
    CalendarRule,
    CalendarSpec,
    CatchUp,
    DependsMode,
    DependsWhen,
    Dst,
    JobKind,
    JobSpec,
    NamedCalendar,
    Overlap,
    ParamSpec,
    PoolSpec,
    ScheduleSpec,
    SetSpec,
    TickRules,
)

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999))
instants = st.datetimes(timezones=st.just(UTC))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
calendars = st.builds(CalendarSpec, days=st.integers(0, 9), months=st.integers(0, 9), at=words, start_date=words)
texts = st.lists(words, max_size=2).map(tuple)
named_calendars = st.builds(NamedCalendar, name=words, days=texts, yearly=texts, weekdays=texts)
simple_schedules = st.builds(
    ScheduleSpec,
    cron=st.none() | words,
    every=st.none() | durations,
    anchor=st.none() | instants,
    calendar=st.none() | calendars,
    on_calendar=st.none() | words,
    at=st.none() | instants,
    timezone=words,
    dst=st.sampled_from(Dst),
    use_calendar=st.none() | named_calendars,
    calendar_rule=st.sampled_from(CalendarRule),
)
schedules = st.builds(replace, simple_schedules, also=st.lists(simple_schedules, max_size=2).map(tuple))
blackouts = st.builds(
    BlackoutSpec,
    name=words,
    start=st.none() | instants,
    end=st.none() | instants,
    schedule=st.none() | simple_schedules,
    duration=st.none() | durations,
    jobs=texts,
    tags=texts,
    queues=texts,
    policy=st.sampled_from(BlackoutPolicy),
)
shared = st.builds(
    SetSpec,
    calendars=st.lists(named_calendars, max_size=2).map(tuple),
    blackouts=st.lists(blackouts, max_size=2).map(tuple),
    pools=st.lists(st.builds(PoolSpec, name=words, places=st.integers(1)), max_size=2).map(tuple),
)
params = st.builds(
    ParamSpec,
    name=words,
    type=st.sampled_from(["string", "integer"]),
    default=json_values,
    required=st.booleans(),
    choices=st.lists(json_values, max_size=2).map(tuple),
    description=words,
)
jobs = st.builds(
    JobSpec,
    name=words,
    kind=st.sampled_from(JobKind),
    command=st.none() | words | st.lists(words, max_size=3).map(tuple),
    script=st.none() | words,
    args=st.lists(words, max_size=2).map(tuple),
    python=st.none() | words,
    kwargs=st.dictionaries(words, json_values, max_size=2),
    schedule=schedules,
    description=words,
    enabled=st.booleans(),
    tags=st.lists(words, max_size=2).map(tuple),
    queue=words,
    priority=st.integers(),
    timeout=st.none() | durations,
    kill_grace=durations,
    max_retries=st.integers(0, 100),
    retry_backoff=durations,
    retry_backoff_max=durations,
    retry_on_lost=st.booleans(),
    overlap=st.sampled_from(Overlap),
    catch_up=st.sampled_from(CatchUp),
    catch_up_limit=st.integers(),
    misfire_grace=st.none() | durations,
    queue_limit=st.integers(),
    jitter=durations,
    pool=st.none() | words,
    depends_on=texts,
    depends_when=st.sampled_from(DependsWhen),
    depends_mode=st.sampled_from(DependsMode),
    params=st.lists(params, max_size=2).map(tuple),
    env=st.dictionaries(words, words, max_size=2),
    env_file=st.none() | words,
    cwd=st.none() | words,
    user=st.none() | words,
    success_exit_codes=st.lists(st.integers(0, 255), max_size=3).map(tuple),
    output_limit=st.integers(0),
    stderr=st.sampled_from(["separate", "merge"]),
)


@settings(max_examples=60, deadline=None)
@given(jobs)
def test_a_job_survives_being_written_as_json_and_read(job: JobSpec) -> None:
    read = jobspec_from_dict(json.loads(json.dumps(jobspec_to_dict(job))))
    assert read == job
    assert config_hash(read) == config_hash(job)


@settings(max_examples=60, deadline=None)
@given(jobs)
def test_a_job_survives_being_stored(job: JobSpec) -> None:
    assert jobspec_from_dict(json.loads(json.dumps(stored_document(job)))) == job


def test_what_is_as_by_default_is_not_stored() -> None:
    job = JobSpec("a", JobKind.COMMAND, command="true", schedule=ScheduleSpec(cron="@daily"), timeout=None)
    wanted = {"name": "a", "kind": "command", "command": "true", "schedule": {"cron": "@daily"}, "timeout": None}
    assert stored_document(job) == wanted


@settings(max_examples=60, deadline=None)
@given(jobs)
def test_the_rules_of_ticks_are_read_from_a_few_values_as_from_the_whole(job: JobSpec) -> None:
    document = stored_document(job)
    assert tick_rules(json.dumps([document.get(key) for key in TICK_RULES])) == TickRules.of(job)


@settings(max_examples=60, deadline=None)
@given(shared)
def test_what_a_set_shares_survives_being_written_as_json_and_read(common: SetSpec) -> None:
    assert setspec_from_dict(json.loads(json.dumps(setspec_to_dict(common)))) == common


def test_a_document_of_another_version_is_read_with_defaults_for_what_it_lacks() -> None:
    assert jobspec_from_dict({"name": "a", "kind": "command", "new_in_2031": 1}) == JobSpec("a", JobKind.COMMAND)


def test_every_changed_field_changes_the_hash() -> None:
    job = JobSpec("a", JobKind.COMMAND, command="true")
    changed = [
        replace(job, command=("true",)),
        replace(job, timeout=None),
        replace(job, schedule=ScheduleSpec(cron="@daily")),
        replace(job, env={"A": "1"}),
        replace(job, retry_backoff=timedelta(microseconds=1)),
        replace(job, schedule=ScheduleSpec(at=datetime(2031, 1, 1, tzinfo=UTC))),
    ]
    assert len({config_hash(each) for each in [job, *changed]}) == len(changed) + 1


def test_the_hash_is_the_same_in_another_process_with_other_hash_seed() -> None:
    job = JobSpec("a", JobKind.PYTHON, python="m:f", kwargs={"b": 1, "a": [None, 2.5]}, env={"Z": "é", "A": ""})
    program = (
        "from jobsup.config.document import *; from jobsup.model import *;"
        "print(config_hash(JobSpec('a', JobKind.PYTHON, python='m:f',"
        " kwargs={'a': [None, 2.5], 'b': 1}, env={'A': '', 'Z': 'é'})))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "7", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert printed.stdout.strip() == config_hash(job)
    assert len(config_hash(job)) == 16
