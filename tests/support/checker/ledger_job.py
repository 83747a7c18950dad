"""The job that testifies: `ledger_job.py LEDGER [--seconds S] [--lines N] [--exit CODE]`, by any Python, on its own.

It appends a line to the ledger when it starts and another before it ends, each in one write and on the disk before it
goes on; in between it prints its lines and waits. A job that is killed leaves its start only.
"""

import argparse
import json
import os
import time


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--lines", type=int, default=1)
    parser.add_argument("--exit", type=int, default=0)
    options = parser.parse_args()
    ledger = os.open(options.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    write(ledger, "start")
    for number in range(1, options.lines + 1):
        print(line(number), flush=True)
    time.sleep(options.seconds)
    write(ledger, "end", exit=options.exit, lines=options.lines)
    return options.exit


def line(number: int) -> str:
    """What the job prints: each line tells its place."""
    return f"line {number} of run {os.environ['JOBSUP_RUN_ID']}"


def write(ledger: int, kind: str, **more: int) -> None:
    with open("/proc/self/stat", encoding="utf-8") as file:  # noqa: PTH123  (pathlib costs more than the job)
        started = int(file.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123
        boot = file.read().strip()
    fields = {
        "kind": kind,
        "job": os.environ["JOBSUP_JOB"],
        "run": int(os.environ["JOBSUP_RUN_ID"]),
        "attempt": int(os.environ["JOBSUP_ATTEMPT"]),
        "scheduled_for": os.environ["JOBSUP_SCHEDULED_FOR"],
        "network": os.stat("/proc/self/ns/net").st_ino,  # noqa: PTH116  (tells the host where hosts are namespaces)
        "boot": boot,
        "pid": os.getpid(),
        "started": started,
        "real": time.time(),
        "mono": time.monotonic(),
        **more,
    }
    data = (json.dumps(fields) + "\n").encode()
    assert len(data) < 4096
    assert os.write(ledger, data) == len(data)
    os.fsync(ledger)


if __name__ == "__main__":
    raise SystemExit(main())
