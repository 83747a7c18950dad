"""What huge output and many readers cost: pages of 5 GiB in time and memory, and the schedule beside a busy portal.

    .venv/bin/python -m benchmarks.portal_load                  # all of it, about five minutes
    .venv/bin/python -m benchmarks.portal_load --only-schedule  # the second half, less than three minutes
    .venv/bin/python -m benchmarks.portal_load --gib 0.5 --seconds 10

One instance with its portal. First a job prints so much of which 64 MiB are kept (`output_limit`), and its output is
read at both ends, in the middle and by search, with the memory of the portal's process looked at before and after.
Then jobs that start each second are timed alone and, in turn, beside 100 who follow a log that grows by a line a
second, and 1,000 requests a second, of pages that four people's browsers have already and of documents. The portal may
send away what is too much (503); the schedule must not be later for it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import mean
from urllib.parse import urlencode

from benchmarks.askers import Answers, Order, begin, end
from benchmarks.figures import Figure, percentile, table
from benchmarks.instance import Instance, instant

KEPT_MIB = 64
GIB = 5.0
SECONDS = 20.0
STREAMS, RATE = 100, 1000
ADDRESSES, CONNECTIONS, TOKENS, PEOPLE = 40, 300, 8, 4
"""So many that nobody asks more often than one may."""
TURNS = 3
"""How often the schedule is measured alone and then beside the load: what the machine does meanwhile meets both."""
LEAD_SECONDS = 3.0
"""From the first request to the measurement, and from the last to the next one."""
PASSWORD = "a password of the benchmark"
LANGUAGE = {"Accept": "text/html"}
PAGES = ("/", "/jobs", "/runs", "/pulse", "/jobs/beat-0")
"""What browsers ask for again and again, with the ETag of what they have."""
DOCUMENTS = ("/healthz", "/healthz", "/api/v1/runs/{run}", "/api/v1/jobs/beat-0", "/api/v1/runs?last=20")
PAGE_MILLISECONDS_MAX = 300.0
GROWTH_MIB_MAX = 32.0
LATER_MILLISECONDS_MAX = 50.0
"""How much later the 99th of a hundred may start: the noise of one measurement against the next."""
ROUNDS = 7
BEATS = 10
PRINT_SECONDS_MAX = 1800.0

SETTINGS = """
[worker]
count = 2
concurrency = 8
[portal]
enabled = true
port = {port}
"""
JOBS = """
[[job]]
name = "prints"
command = "yes 'a line of output with some words in it, forty-eight' | head -c {bytes}"

timeout = "none"
output_limit = "{kept} MiB"
max_retries = 0

[[job]]
name = "listens"
command = "while :; do echo a line; sleep 1; done"
timeout = "none"
max_retries = 0
"""
BEAT = """
[[job]]
name = "beat-{number}"
command = "true"
every = "1s"
anchor = "2026-01-01T00:00:00.{number}Z"
timezone = "UTC"
"""
"""Each at its own tenth of a second: ticks of one instant are dispatched together, and late together."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=GIB)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only-schedule", action="store_true", help="leave the huge output out")
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    jobs = JOBS.format(bytes=int(given.gib * (1 << 30)), kept=KEPT_MIB)
    beats = "".join(BEAT.format(number=number) for number in range(BEATS))
    with Instance(SETTINGS.format(port=port), jobs + beats) as instance:
        portal = Portal(instance, port)
        figures = [] if given.only_schedule else of_output(portal)
        figures += of_schedule(portal, given.seconds)
    sys.stdout.write(table(figures) + "\n")
    return int(any(figure.verdict == "MISSED" for figure in figures))


class Portal:
    """The portal of an instance, as a program reaches it."""

    def __init__(self, instance: Instance, port: int) -> None:
        self.instance = instance
        self.port = port
        self._tokens = itertools.count(1)
        self._people = itertools.count(1)
        self.headers = {"Authorization": f"Bearer {self.token()}"}
        self.pid = next(child["pid"] for child in instance.status()["children"] if child["kind"] == "portal")

    def sign_in(self) -> str:
        """Make a user and return the cookie of their session."""
        name = f"bench-{next(self._people)}"
        self.instance.run("user", "add", name, "--role", "viewer", given=PASSWORD)
        with closing(self.connect()) as connection:
            form = urlencode({"name": name, "password": PASSWORD})
            headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
            connection.request("POST", "/login", form, {**headers, "Host": f"127.0.0.1:{self.port}"})
            answer = connection.getresponse()
            cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
            if "session" not in cookie:
                raise SystemExit(f"no session: {answer.status} {answer.read()[:200]!r}")
            return cookie

    @property
    def cpu_seconds(self) -> float:
        """What the portal's process has worked so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def token(self) -> str:
        """Make one more token: each may ask so often."""
        name = f"bench-{next(self._tokens)}"
        return self.instance.run("token", "create", name, "--scope", "admin").stdout.strip()

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(address, 0))

    def get(self, path: str) -> bytes:
        """Return a document that must be there."""
        with closing(self.connect()) as connection:
            connection.request("GET", f"/api/v1{path}", headers=self.headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
            return body

    @property
    def memory_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0


def of_output(portal: Portal) -> list[Figure]:
    """Measure pages of a run that printed very much."""
    began = time.monotonic()
    run = portal.instance.run("run", "prints").stdout.strip()
    while portal.instance.rows("SELECT status FROM job_dispatch WHERE id = ?", int(run))[0][0] != "COMPLETED":
        if time.monotonic() - began > PRINT_SECONDS_MAX:
            raise SystemExit(f"the job has not printed all in {PRINT_SECONDS_MAX:.0f} s")
        time.sleep(0.5)
    total = portal.instance.rows("SELECT output_bytes FROM job_execution_log WHERE dispatch_id = ?", int(run))[0][0]
    sys.stderr.write(f"{total} bytes printed in {time.monotonic() - began:.0f} s\n")
    portal.get(f"/runs/{run}/log?from=0")
    before = portal.memory_mib
    places = {"its head": 0, "its middle": total // 2, "its tail": total - 65536, "the kept head's end": 30 << 20}
    figures = []
    for name, place in places.items():
        took = timed(lambda place=place: portal.get(f"/runs/{run}/log?from={place}&len=65536"))  # type: ignore[misc]
        figures.append(Figure(f"a page of 64 KiB at {name}, p50", took, "ms", PAGE_MILLISECONDS_MAX))
    figures.append(Figure("a search in it, p50", timed(lambda: portal.get(f"/runs/{run}/search?q=nowhere")), "ms"))
    with closing(portal.connect()) as connection:
        connection.request("GET", f"/api/v1/runs/{run}/output", headers=portal.headers)
        answer = connection.getresponse()
        while answer.read(1 << 20):
            pass
    growth = portal.memory_mib - before
    return [*figures, Figure("the portal's memory grows by", growth, "MiB", GROWTH_MIB_MAX)]


def timed(work: Callable[[], object]) -> float:
    """Return the median of some rounds, in milliseconds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return percentile(took, 0.5)


def of_schedule(portal: Portal, seconds: float) -> list[Figure]:
    """Measure how late ticks are dispatched, alone and beside a portal that is asked too much, in turn."""
    run = portal.instance.run("run", "listens").stdout.strip()
    headers = {"Authorization": portal.headers["Authorization"]}
    cookies = itertools.cycle([portal.sign_in() for _ in range(PEOPLE)])
    requests = []
    for _ in range(TOKENS):
        token, cookie = {"Authorization": f"Bearer {portal.token()}"}, next(cookies)
        requests += [(path, {"Cookie": cookie, **LANGUAGE}) for path in PAGES]
        requests += [(path.format(run=run), token) for path in DOCUMENTS]
    order = Order(
        portal.port,
        seconds + LEAD_SECONDS,
        RATE,
        CONNECTIONS,
        ADDRESSES,
        requests,
        STREAMS,
        (f"/api/v1/runs/{run}/stream", headers),
    )
    alone: list[float] = []
    beside: list[float] = []
    told = []
    for _ in range(TURNS):
        alone += late(portal, seconds)
        spent = portal.cpu_seconds
        crowd = begin(order)
        time.sleep(LEAD_SECONDS)
        beside += late(portal, seconds)
        told.append((end(crowd), portal.cpu_seconds - spent))
        time.sleep(LEAD_SECONDS)
    portal.instance.run("cancel", run)
    asked = [answers for answers, _ in told]
    p50, p99 = percentile(alone, 0.5), percentile(alone, 0.99)
    most = p99 + LATER_MILLISECONDS_MAX
    return [
        Figure(f"lateness of {len(alone)} ticks alone, p50", p50, "ms"),
        Figure("lateness of ticks alone, p99", p99, "ms"),
        Figure(f"beside {STREAMS} streams and {RATE}/s, p50", percentile(beside, 0.5), "ms"),
        Figure(f"beside {STREAMS} streams and {RATE}/s, p99", percentile(beside, 0.99), "ms", most),
        Figure("answers", mean(each.rate() for each in asked), "per second"),
        *_by_status(asked),
        Figure(
            "not asked, for the last answer was late", mean(each.unasked / each.seconds for each in asked), "per second"
        ),
        Figure("an answer takes, p50", mean(each.took_p50 for each in asked), "ms"),
        Figure("an answer takes, p99", mean(each.took_p99 for each in asked), "ms"),
        Figure("other answers, and connections cut", sum(_odd(each) for each in asked), "", 0),
        Figure("streams open at the end", min(each.streamed for each in asked), "", STREAMS, is_least=True),
        Figure("streams that were asked for once more", sum(each.again for each in asked), ""),
        Figure("the portal's processor time", mean(spent / answers.seconds for answers, spent in told), "cores"),
        Figure("the asking's own", mean(each.cpu_seconds / each.seconds for each in asked), "cores"),
    ]


def _by_status(asked: list[Answers]) -> list[Figure]:
    statuses = sorted({status for each in asked for status in each.by_status})
    return [Figure(f"of them {each}", mean(one.rate(each) for one in asked), "per second") for each in statuses]


def _odd(answers: Answers) -> int:
    return answers.cut + sum(count for status, count in answers.by_status.items() if status not in (200, 304, 503))


def late(portal: Portal, seconds: float) -> list[float]:
    """Return how late the ticks of so many seconds are dispatched, from the instant to the row, in milliseconds."""
    newest = portal.instance.rows("SELECT coalesce(max(id), 0) FROM job_dispatch")[0][0]
    time.sleep(seconds)
    query = "SELECT scheduled_for, created_at FROM job_dispatch WHERE id > ? AND source = 'schedule'"
    rows = portal.instance.rows(query, newest)
    return [(instant(made) - instant(due)).total_seconds() * 1000 for due, made in rows]


if __name__ == "__main__":
    sys.exit(main())
