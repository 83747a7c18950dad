"""Two hosts, each in a network namespace, and one of them cut off, frozen or killed with all that runs on it.

The short form, with heartbeats each second: a host is lost after 4 s, and the leader's lease lasts 8 s as ever. The
long form is `python -m tests.long.hosts`.
"""

from __future__ import annotations

import pytest

from tests.support import networks, ordeals
from tests.support.checker import Bounds, JobLaw, explain, judge
from tests.support.fleet import LedgerJob, fleet
from tests.support.measures import measure
from tests.support.waiting import PATIENCE

TAKEOVER_SECONDS = 10.0
JOBS = (
    LedgerJob(JobLaw("tick", 1.0, overlap="allow")),
    LedgerJob(JobLaw("steady", 2.0, lines=3), 0.7),
    *(LedgerJob(JobLaw(f"vigil-{number}", 15.0, lines=2), 13.0) for number in range(1, 4)),
    LedgerJob(JobLaw("failing", 5.0, attempts_max=2), exit=3, more='retry_backoff = "1s"'),
)
UNHURRIED = Bounds(created=5.0, started=PATIENCE, fence=3.5)
"""When each run begins on a busy machine is not what is tested here; all else is."""


@pytest.mark.root
def test_two_hosts_lose_and_double_nothing_when_one_is_cut_off_frozen_or_killed() -> None:
    if why := networks.why_not():
        pytest.skip(why)
    with fleet("one", "two", jobs=JOBS, heartbeat=1.0) as two:
        two.start()
        for ordeal in (ordeals.leader_cut_off, ordeals.leader_frozen, ordeals.leader_host_killed):
            ordeal(two)
        history = two.finish(UNHURRIED)
        assert explain(history, judge(history)) == "valid"
        for fault in history.faults[:3]:
            found = measure(history, two.terms, fault)
            assert found.takeover is not None, fault
            assert found.takeover < TAKEOVER_SECONDS, fault
            assert found.lost, f"{fault} lost a run, or it proves little"
        cut = measure(history, two.terms, history.faults[0])
        assert cut.margin is not None
        assert cut.margin > 0, "the host that was cut off had ended its run before the other began it"
