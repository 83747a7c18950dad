"""Two hosts, each in a network namespace, and one of them cut off, frozen or killed with all that runs on it.

The short form: heartbeats each second and a leader's lease of 4 s, so that a lost host is given up after 4 s. The
long form, at the pace of the defaults and with more ordeals, is `python -m tests.long.hosts`.
"""

from __future__ import annotations

import pytest

from tests.support import networks, ordeals
from tests.support.checker import Bounds, FaultKind, JobLaw, explain, judge
from tests.support.fleet import Pace, fleet
from tests.support.measures import measure
from tests.support.waiting import PATIENCE
from tests.support.workload import LedgerJob

TAKEOVER_SECONDS = 10.0
JOBS = (
    LedgerJob(JobLaw("tick", 1.0, overlap="allow")),
    LedgerJob(JobLaw("steady", 2.0, lines=3), 0.7),
    *(LedgerJob(JobLaw(f"vigil-{number}", 7.0, lines=2), 6.0) for number in range(1, 4)),
    LedgerJob(JobLaw("failing", 5.0, attempts_max=2), exit=3, more='retry_backoff = "1s"'),
)
UNHURRIED = Bounds(created=5.0, started=PATIENCE, fence=3.5, clock=1.0)
"""How soon a run begins on a busy machine is not what is tested here; all else is."""


@pytest.mark.root
def test_two_hosts_lose_and_double_nothing_when_one_is_cut_off_frozen_or_killed() -> None:
    if why := networks.why_not():
        pytest.skip(why)
    with fleet("one", "two", jobs=JOBS, pace=Pace(lease=4.0, heartbeat=1.0, calm=1.0)) as two:
        two.start()
        for ordeal in (ordeals.leader_cut_off, ordeals.leader_frozen, ordeals.leader_host_killed):
            ordeal(two)
        history = two.finish(UNHURRIED)
        assert explain(history, judge(history)) == "valid"
        faults = {fault.kind: fault for fault in two.faults}
        for kind in (FaultKind.PARTITION, FaultKind.FREEZE, FaultKind.KILL):
            found = measure(history, two.terms, faults[kind])
            assert found.takeover is not None, kind
            assert found.takeover < TAKEOVER_SECONDS, kind
            assert found.lost, f"{kind}: no run was lost, so it proves little"
            if kind is not FaultKind.FREEZE:
                assert found.margin is not None
                assert found.margin > 0, f"{kind}: what ran there had ended before another began it"
