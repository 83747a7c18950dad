"""One run: its story, its attempts, what it cost, and a page of what it printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobsup.actions import runs, why
from jobsup.actions.why import Story
from jobsup.config.words import words
from jobsup.portal.views import log
from jobsup.portal.views.log import Hits, LogPage
from jobsup.store.engine import Database
from jobsup.store.overview import RunRow


@dataclass(frozen=True, slots=True)
class RunView:
    """One attempt, among the others of its run."""

    run: RunRow
    story: Story
    log: LogPage
    hits: Hits | None
    params: tuple[tuple[str, str], ...]

    @property
    def is_live(self) -> bool:
        return not self.run.status.is_terminal

    @property
    def latest(self) -> RunRow:
        """The newest attempt: the one that can be retried."""
        return self.story.runs[-1] if self.story.runs else self.run


def run_of(database: Database, run_id: int, *, place: int | None, needle: str) -> RunView:
    """Read a run. Raises NotFoundError."""
    run = runs.get(database, run_id)
    page: Callable[[], LogPage] = (
        (lambda: log.tail(database, run_id)) if place is None else (lambda: log.at(database, run_id, place))
    )
    return RunView(
        run=run,
        story=why.about_run(database, run_id),
        log=page(),
        hits=log.search(database, run_id, needle) if needle else None,
        params=tuple((name, str(words(value))) for name, value in (run.params or {}).items()),
    )
