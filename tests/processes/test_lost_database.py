"""Two hosts whose database crashes, is cut off, stands still, and is followed by its replica: nothing is lost.

The short form; the long one, with more ordeals, is `python -m tests.long.hosts`.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.support import networks, ordeals
from tests.support.checker import Bounds, JobLaw, explain, judge
from tests.support.fleet import REPLICA, Pace, fleet
from tests.support.measures import measure
from tests.support.waiting import PATIENCE
from tests.support.workload import LedgerJob

RECOVERY_SECONDS = 10.0
JOBS = (
    LedgerJob(JobLaw("tick", 1.0, overlap="allow")),
    LedgerJob(JobLaw("steady", 2.0, lines=3), 0.7),
    LedgerJob(JobLaw("vigil", 5.0), 4.0),
    LedgerJob(JobLaw("by-hand", overlap="allow")),
)
UNHURRIED = Bounds(created=5.0, started=PATIENCE, clock=1.0)
"""How soon a run begins on a busy machine is not what is tested here; all else is."""


@pytest.mark.root
def test_two_hosts_go_on_after_their_database_crashed_stood_still_or_was_replaced() -> None:
    if why := networks.why_not():
        pytest.skip(why)
    with fleet("one", "two", replica=True, jobs=JOBS, pace=Pace(timeout=2.0, calm=1.0)) as two:
        replica = two.add_replica(REPLICA)
        two.start()
        pids = [host.pids() for host in two.hosts]
        asked = [two.ask(host) for host in two.hosts]
        for ordeal in (
            partial(ordeals.database_restarted, seconds=4.0, every=2.0),
            partial(ordeals.database_cut_off_shortly, seconds=5.0),
            partial(ordeals.database_frozen, seconds=5.0),
            partial(ordeals.failed_over, replica=replica, seconds=1.0),
        ):
            ordeal(two)
        assert [host.pids() for host in two.hosts] == pids, "no process was lost to it"
        history = two.finish(UNHURRIED)
        assert explain(history, judge(history)) == "valid"
        assert {request.result for request in asked} == {"ok"}
        ends = {row.reason for row in history.attempts if row.status in ("FAILED", "TIMEOUT")}
        assert not ends, "what ran went on, and its result was written once"
        for fault in two.faults[-3:]:
            recovery = measure(history, two.terms, fault).recovery
            assert recovery is not None
            assert recovery < RECOVERY_SECONDS, fault
