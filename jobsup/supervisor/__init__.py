"""Keeping processes alive: the supervisor, which knows children and nothing of what they do.

`Supervisor` is handed how to make a `Plan` of `ChildSpec`s and keeps it true with one thread and one selector.

    spawn     forks, from one thread only; what a child is given, and what it must not inherit
    child     one process: its life is a table of states and events
    pool      the slots of one kind, with `backoff` deciding when an ended child starts again
    crew      all pools, and who hears of a death
    yard      every process we started, the strangers they left us, and the guardian
    guardian  the process that ends everything when the supervisor is killed
    task      short-lived children for work that may block or fail
    boot      the first generation: prepare, apply
    reload    a new generation: prepare, compare, roll one by one, apply
    stall     when children must not be judged
    premises  the runtime folder, the locks, and the sweep of what an earlier supervisor left
    status, verbs, signals, supervisor   the picture, the tables of what can be asked and how, and the whole

What can fail: a child (restarted, ever later), many children (a budget per kind, then `degraded`), a child that
hangs (stack dump, then killed), the guardian (replaced), the supervisor (the guardian ends everything), both at
once (the kernel ends the children; the next start sweeps jobs by their tag), a reload (the old generation stays).
"""

from jobsup.supervisor.spec import ChildSpec, Plan
from jobsup.supervisor.supervisor import Supervisor

__all__ = ["ChildSpec", "Plan", "Supervisor"]
