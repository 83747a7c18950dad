"""One run: its story, its attempts, what it cost, what is known beside a failure, and a page of what it printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobsup.actions import runs, why
from jobsup.actions.why import Story
from jobsup.config.words import words
from jobsup.model import Status
from jobsup.portal.render import lasted, size
from jobsup.portal.views import log
from jobsup.portal.views.log import Hits, LogPage
from jobsup.portal.views.phases import Phase, phases
from jobsup.portal.views.words import signal_name
from jobsup.store import history
from jobsup.store.engine import Database
from jobsup.store.history import Wanted
from jobsup.store.run_rows import RunLine, RunRow

NEAR = timedelta(minutes=5)
"""Other jobs that failed within so long of a failure may have the same cause."""
NEAR_MAX = 5
FAILURES = (Status.FAILED, Status.TIMEOUT)
DIFFERENT = 1.5
"""A length or a size that is told when it differs by more than this factor."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What was otherwise in the last run that went well."""

    what: str
    now: str
    then: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known beside a failure."""

    last_good: RunRow | None
    differences: tuple[Difference, ...]
    near: tuple[RunLine, ...]
    """Runs of other jobs that failed at about the same time."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One attempt, among the others of its run."""

    run: RunRow
    at: datetime
    story: Story
    phases: tuple[Phase, ...]
    log: LogPage
    hits: Hits | None
    params: tuple[tuple[str, str], ...]
    failure: Failure | None
    """None where there is none."""

    @property
    def is_live(self) -> bool:
        return not self.run.status.is_terminal

    @property
    def latest(self) -> RunRow:
        """The newest attempt: the one that can be retried."""
        return self.story.runs[-1] if self.story.runs else self.run


def run_of(database: Database, run_id: int, *, place: int | None, needle: str) -> RunView:
    """Read a run. Raises NotFoundError."""
    run, now = runs.get(database, run_id), database.now()
    page: Callable[[], LogPage] = (
        (lambda: log.tail(database, run_id)) if place is None else (lambda: log.at(database, run_id, place))
    )
    return RunView(
        run=run,
        at=now,
        story=why.about_run(database, run_id),
        phases=phases(run, now),
        log=page(),
        hits=log.search(database, run_id, needle) if needle else None,
        params=tuple((name, str(words(value))) for name, value in (run.params or {}).items()),
        failure=_failure(database, run) if run.status in FAILURES else None,
    )


def _failure(database: Database, run: RunRow) -> Failure:
    wanted = Wanted(job_id=run.job_id, statuses=frozenset({Status.COMPLETED}))
    before = history.page(database, wanted, before=run.id, rows=1).runs
    good = runs.get(database, before[0].id) if before else None
    ended = run.completed_at
    near = history.failed_near(database, ended, NEAR, besides=run.job_id, rows=NEAR_MAX) if ended is not None else []
    return Failure(good, tuple(_differences(run, good)) if good is not None else (), tuple(near))


def _differences(run: RunRow, good: RunRow) -> Iterator[Difference]:
    if run.config_hash != good.config_hash:
        yield Difference("Definition", run.config_hash or "–", good.config_hash or "–")
    if run.host != good.host:
        yield Difference("Host", run.host or "–", good.host or "–")
    if run.exit_code != good.exit_code or run.signal != good.signal:
        yield Difference("Exit", _exit(run), _exit(good))
    if run.params != good.params:
        yield Difference("Parameters", str(words(run.params or {})), str(words(good.params or {})))
    took, took_then = _took(run), _took(good)
    if _is_different(took, took_then):
        yield Difference("Took", lasted(took), lasted(took_then))
    if _is_different(run.max_rss, good.max_rss):
        yield Difference("Memory", size(run.max_rss), size(good.max_rss))
    if _is_different(run.output_bytes, good.output_bytes):
        yield Difference("Output", size(run.output_bytes), size(good.output_bytes))


def _exit(run: RunRow) -> str:
    if run.signal is not None:
        return signal_name(run.signal)
    return "–" if run.exit_code is None else f"exit {run.exit_code}"


def _took(run: RunRow) -> float | None:
    if run.started_at is None or run.completed_at is None:
        return None
    return (run.completed_at - run.started_at).total_seconds()


def _is_different(now: float | None, then: float | None) -> bool:
    if now is None or then is None:
        return False
    low, high = sorted((now, then))
    return high > max(1.0, low) * DIFFERENT
