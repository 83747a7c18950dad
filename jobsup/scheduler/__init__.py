"""The scheduler: decides when jobs run, who decides, and what becomes of runs whose owner is gone.

One process, one loop, one connection. `service` turns the loop and sleeps until the earliest of the next tick, the
end of what its parts wait for, a wake-up, or one second (a look at the clock without a query: clocks jump).
`leader` holds the lease, so that of all schedulers on a database one dispatches; `planner` decides purely, from a due
job and the time, which ticks run and which are SKIPPED and why; `dispatcher` applies plans chunk by chunk;
`rescuer` closes the runs of lost workers; `cleaner` deletes what is past its retention.

What can go wrong, and what then: a scheduler that dies is replaced by its supervisor, which takes its predecessor's
lease back at once, or by a standby once the lease has passed; one that is frozen past its lease finds its term over,
because every dispatching transaction checks it; a database that does not answer is said once and tried again, and
the lease given up in time; a tick is never doubled, since a unique index forbids it.
"""
