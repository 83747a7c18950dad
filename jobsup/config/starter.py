"""The file that `jobsup init` writes: short, commented, and right as it stands."""

from __future__ import annotations

_STARTER = """\
# jobsup.toml: what jobsup runs, and when.
#
#     jobsup check     shows every problem in this file, and the next runs
#     jobsup start     runs it; jobsup reload takes changes over
#
# Durations are written "30s", "1h30m" or "2d"; relative paths start from this file's folder.

[database]
url = "sqlite:///jobsup.db"

[worker]
# Worker processes: as many jobs run at a time.
count = 4

[portal]
# The pages at http://127.0.0.1:8765; the first start prints the address at which the first user is made.
enabled = true

# What holds for every job that does not say otherwise.
[defaults]
timeout = "10m"
max_retries = 3
#timezone = "Europe/Berlin"

[[job]]
name = "hello"
description = "Shows that it works: look with `jobsup runs` and `jobsup logs hello`"
command = "echo Hello from $(hostname), it is $(date)"
every = "1m"

# A shell line by the rules of cron:
#[[job]]
#name = "backup"
#command = "tar -czf /var/backups/home-$(date +%F).tar.gz /home"
#cron = "0 3 * * *"
#timeout = "2h"
#overlap = "skip"

# A program without a shell, run only by hand: jobsup run report --param day=monday
#[[job]]
#name = "report"
#command = ["/usr/local/bin/report", "--verbose"]
#params = { day = "today" }
"""


def starter_toml() -> str:
    """Return the text of a new configuration, which `load` accepts unchanged."""
    return _STARTER
