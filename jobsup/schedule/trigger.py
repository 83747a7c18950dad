"""Our schedules behind APScheduler's trigger protocol, so that its schedulers and combining triggers take them."""

from __future__ import annotations

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from jobsup.errors import ScheduleError
from jobsup.model import ScheduleSpec
from jobsup.schedule.compiler import compile  # noqa: A004 - schedules are compiled


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc] # the library has no types
    """A trigger of any spec but a manual one; what is stored of it is the spec."""

    __slots__ = ("_schedule", "name", "spec")

    def __init__(self, spec: ScheduleSpec, *, name: str = "") -> None:
        schedule = compile(spec, name=name)
        if schedule is None:
            raise ScheduleError("a manual schedule has no trigger; give cron, every, calendar, on_calendar or at")
        self.spec, self.name = spec, name
        self._schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the tick after the previous one, or, when there was none, the first at or after `now`, in UTC."""
        if previous_fire_time is not None:
            return self._schedule.next_after(previous_fire_time)
        last = self._schedule.last_before(now)
        return last if last == now else self._schedule.next_after(now)

    def __getstate__(self) -> dict[str, object]:
        return {"spec": self.spec, "name": self.name}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["spec"], name=state["name"])  # type: ignore[misc] # pickle's way, our own state
