"""New rules of time zones: the next ticks that were computed with the old ones are computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update

from jobsup.config.document import schedule_from_dict
from jobsup.errors import ScheduleError
from jobsup.model import ScheduleSpec
from jobsup.schedule import compile as compile_schedule
from jobsup.schedule.due import are_current, next_due, zone_rules
from jobsup.store.definitions import IN_LIST_MAX
from jobsup.store.engine import Database
from jobsup.store.rows import Job
from jobsup.store.statements import Statement


@dataclass(frozen=True, slots=True)
class Moved:
    """A job whose next tick is at another instant than was thought."""

    name: str
    before: datetime
    after: datetime | None


def recompute(database: Database) -> list[Moved]:
    """Bring `next_run` up to date with the tz database of this host; returns the jobs it changed for.

    A tick that is overdue already stays as it is: it is decided on at once, by the new rules. One query when no
    rules have changed.
    """
    with database.look() as direct:
        known = [rules for (rules,) in direct.fetch(_KNOWN, {})]
    stale = [rules for rules in known if rules is not None and not are_current(rules)]
    moved: list[Moved] = []
    for start in range(0, len(stale), IN_LIST_MAX):
        now = database.now()
        with database.write() as connection:
            concerned = Job.zone_fingerprint.in_(stale[start : start + IN_LIST_MAX])
            rows = connection.execute(
                select(Job.id, Job.name, Job.next_run, Job.payload).where(*_ACTIVE, concerned).with_for_update()
            ).all()
            changes = []
            for job_id, name, before, payload in rows:
                after, rules = _anew(name, schedule_from_dict(payload["schedule"]), before, now)
                changes.append({"job": job_id, "following": after, "rules": rules})
                moved += [Moved(name, before, after)] if after != before else []
            if changes:
                connection.execute(_CHANGE, changes)
    return moved


_ACTIVE = (Job.is_active, Job.next_run.is_not(None))
_KNOWN = Statement(lambda _: select(Job.zone_fingerprint).where(*_ACTIVE).distinct())
_CHANGE = (
    update(Job.__table__)
    .where(Job.id == bindparam("job"))
    .values(next_run=bindparam("following"), zone_fingerprint=bindparam("rules"))
)


def _anew(name: str, spec: ScheduleSpec, before: datetime | None, now: datetime) -> tuple[datetime | None, str | None]:
    try:
        if before is None or before > now:
            schedule = compile_schedule(spec, name=name)
            before = None if schedule is None else next_due(schedule, now)
        return before, zone_rules(spec, now)
    except ScheduleError:
        return before, None  # its zone is gone: the scheduler says so when it is due
