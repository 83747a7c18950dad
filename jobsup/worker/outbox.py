"""What a worker has to tell the database, and when: the next round is put together here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from jobsup.clock import Clock
from jobsup.model import Heartbeat, OutputChunk, RunResult
from jobsup.store.rounds import Round
from jobsup.worker import heartbeat
from jobsup.worker.ahead import Ahead
from jobsup.worker.appetite import Appetite
from jobsup.worker.heartbeat import Pulse
from jobsup.worker.slots import Slots

STARTED_WITHIN_SECONDS = 0.1
"""A run that still goes on after this long is reported as started."""
STARTED_FROM_SECONDS = 0.05
"""A younger one is not: most are over before that, and then their end says it all."""
LIVE_SECONDS = 0.25
"""Between two pieces of live output; of a killed worker's run at most this much may be missing."""
ROUND_BYTES_MAX = 1 << 20
"""Output that waits for no company."""
WATCH_SECONDS_MIN = 0.05
"""Wake-ups that come thicker make the worker ask for cancels only so often."""


@dataclass(slots=True)
class Outbox:
    """Everything that waits for the next round; moments are on the monotonic clock."""

    slots: Slots
    pulse: Pulse
    appetite: Appetite
    clock: Clock
    concurrency: int
    ahead: Ahead
    is_draining: bool = False
    unsent: list[RunResult] = field(default_factory=list)
    """Ends that are not in the database, also those that are on their way there."""
    _release: list[int] = field(default_factory=list)
    _unreported: dict[int, float] = field(default_factory=dict)
    """Started runs the database has not heard of -> when it must, at the latest; the first comes first."""
    _watch_at: float | None = None
    _live_from: float = 0.0
    _composed_at: float = 0.0
    _unsent_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing waits that must not be lost."""
        return not self.unsent and not self._release

    @property
    def free(self) -> int:
        """How many more runs the worker could take."""
        return 0 if self.is_draining else max(0, self.concurrency - len(self.slots))

    def started(self, *dispatch_ids: int) -> None:
        """Hear of runs that were started."""
        self._unreported.update(dict.fromkeys(dispatch_ids, self.clock.monotonic() + STARTED_WITHIN_SECONDS))

    def give_back(self, dispatch_id: int) -> None:
        self._release.append(dispatch_id)

    def woken(self) -> None:
        """There is news: of work, or of runs somebody wants to end."""
        self.appetite.whet()
        if self._watch_at is None:
            self._watch_at = max(self.clock.monotonic(), self._composed_at + WATCH_SECONDS_MIN)

    def take_returned(self) -> None:
        """Let what has lost its place wait for a slot again."""
        for claim in self.slots.returned:
            self._unreported.pop(claim.dispatch_id, None)
            self.ahead.put_back(claim)
        self.slots.returned.clear()

    def collect(self) -> None:
        """Take the ends of runs over from the slots, and give back what has waited for one too long."""
        self.ahead.ended(len(self.slots.results))
        self._release += [claim.dispatch_id for claim in self.ahead.overdue()]
        for result in self.slots.results:
            self._unreported.pop(result.dispatch_id, None)
            self.unsent.append(result)
            self._unsent_bytes += len(result.output.data)
        self.slots.results.clear()

    def written(self, request: Round) -> None:
        """Forget the ends the database has now."""
        done = {result.dispatch_id for result in request.results}
        self.unsent = [result for result in self.unsent if result.dispatch_id not in done]

    def next_at(self, now: float) -> float:
        """Return when the next round should go; `now` or earlier: at once."""
        moments = [self.pulse.due_at, self._live_at(), self._report_at(now)]
        if not self.is_empty:
            if not self._may_wait:
                return now
            moments.append(self._composed_at + self.ahead.round_every)
        if self.free:
            moments.append(now + self.appetite.seconds())
        if self.ahead.give_back_at is not None:
            moments.append(self.ahead.give_back_at)
        if self._watch_at is not None and len(self.slots):
            moments.append(self._watch_at)
        return min(moments)

    @property
    def _may_wait(self) -> bool:
        """Nobody would gain by hearing of the ends at once: no slot is free, and there are claims for the next ones."""
        is_busy = len(self.ahead) + self.slots.surplus > 0 and not self.is_draining and not self.free
        return is_busy and not self._release and self._unsent_bytes < ROUND_BYTES_MAX

    def compose(self, now: float) -> Round:
        """Put the round together: all there is to say, and a claim when it is time to ask or a run has just ended."""
        runs = self.slots.runs
        started = self._take_started(now)
        release, watch_at = self._release, self._watch_at
        self._release, self._watch_at = [], None
        self._composed_at, self._unsent_bytes = now, 0
        is_beat_due = self.pulse.is_due(now)
        if is_beat_due:
            self.slots.sweep()
        is_idle = not runs and not self.unsent and not release
        is_time = self.appetite.seconds() <= 0 or (is_idle and is_beat_due and self.appetite.is_near)
        wants = not self.is_draining and (self.unsent or is_time)
        claim = self.free + self.ahead.wanted(self.slots.surplus) if wants else 0
        is_poll = claim > 0 and is_idle and not self.appetite.expects_work
        if claim:
            self.appetite.asked()
        is_live_due = now >= self._live_at()
        chunks, dropped = self._live(now)
        return Round(
            started=started,
            chunks=chunks,
            dropped=dropped,
            progress=self.slots.take_progress() if is_live_due else {},
            results=tuple(self.unsent),
            release=tuple(release),
            claim=claim,
            is_poll=is_poll,
            # The picture others have of us is put right whenever a lasting run is reported, or the last one ended.
            heartbeat=self._beat(now, is_worth_it=bool(started) or not runs, is_welcome=is_poll),
            # What this very round claims cannot have been cancelled before: only older runs are asked about.
            known=frozenset(
                (
                    *(run.dispatch_id for run in runs),
                    *(result.dispatch_id for result in self.unsent),
                    *self.ahead.ids,
                    *release,
                )
            ),
            watch_cancels=bool(runs) and (watch_at is not None or is_beat_due),
        )

    def _report_at(self, now: float) -> float:
        """Return when the first run is to be reported as started; calls that have not begun are put off."""
        while self._unreported:
            dispatch_id, moment = next(iter(self._unreported.items()))
            run = self.slots.get(dispatch_id)
            if moment > now or (run is not None and self.slots.has_begun(run)):
                return moment
            del self._unreported[dispatch_id]
            if run is not None:
                self._unreported[dispatch_id] = now + STARTED_WITHIN_SECONDS
        return math.inf

    def _take_started(self, now: float) -> dict[int, datetime]:
        """Return the runs to be reported as started, and since when they run."""
        started = {}
        for dispatch_id, moment in list(self._unreported.items()):
            if moment - now > STARTED_WITHIN_SECONDS - STARTED_FROM_SECONDS:
                break
            run = self.slots.get(dispatch_id)
            if run is not None and self.slots.has_begun(run):
                del self._unreported[dispatch_id]
                run.is_told = True
                started[dispatch_id] = run.started_at
        return started

    def _beat(self, now: float, *, is_worth_it: bool, is_welcome: bool) -> Heartbeat | None:
        runs = self.slots.runs
        beat = heartbeat.beat(
            runs=len(runs),
            is_draining=self.is_draining,
            processed=self.slots.processed,
            current_job_id=runs[0].claim.job_id if runs else None,
        )
        is_time = self.pulse.is_near(now) if is_welcome else self.pulse.is_due(now)
        if not is_time and not (is_worth_it and self.pulse.is_news(beat)):
            return None
        self.pulse.sent(beat, now)
        return beat

    def _live(self, now: float) -> tuple[list[OutputChunk], dict[int, tuple[int, int]]]:
        if now < self._live_at():
            return [], {}
        self._live_from = now + LIVE_SECONDS
        return self.slots.take_live(self.clock.now())

    def _live_at(self) -> float:
        """Return when the next piece of live output goes out: with the word that its run has started, at the soonest.

        A run that is over before that needs none.
        """
        printing = [run.started for run in self.slots.runs if run.capture.has_live]
        return max(self._live_from, min(printing) + STARTED_WITHIN_SECONDS) if printing else math.inf
