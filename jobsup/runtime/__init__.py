"""What every process of jobsup stands on: the service loop, signals, its tie to the supervisor, logs, /proc.

Nothing here knows SQL or a job. A service (`service.Service`) is driven by `service.serve`; `link` is how it hears
from whoever started it; `procs` asks the kernel about processes, `trees` ends whole trees of them; `logs` writes
one line per record; `sdnotify`, `locks` and `failpoints` are small tools with one use each.
"""
