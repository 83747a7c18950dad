"""The worker: claims dispatches, runs them, captures what they print, and writes how they ended.

Two threads. The main one turns the service loop and owns processes, pipes, timers and deadlines (`service`, `slots`,
`run`, `tree`); the other owns the database connection (`database`), so that a database that does not answer never
stops output, a deadline or a sign of life. Between them goes one round at a time: what came together meanwhile
(starts, output, ends, a claim, a heartbeat) is one transaction.

A run is claimed (committed) before it is started, and lives through the phases of `run.Phase`:

    running -> (terminating -> killed) -> draining -> ended

Calls of Python functions that are over in no time are handed to a runner many at once, and wait there behind each
other (`calls`, `placement`); so long as one has not begun it can be taken back, and what came of it lies in memory that
both share (`board`).

A run has ended when its process has exited (never: when its pipes are closed), what it left behind is gone, and what
it printed is read. Commands are spawned by `command`; Python callables are called by `runner` in a process that
imported them once. An end is kept until the database has it; one that comes too late is refused there and dropped.

Failures: a worker that is killed leaves its runs to the supervisor, which ends their processes and has them closed
as worker_lost. A worker whose registration is gone ends its runs and leaves with an error. A worker that cannot
renew its registration on a server database ends its runs before others may start them again (`heartbeat`).
"""
