"""How soon a line that a job prints is seen in the browser that started it with Run now.

    .venv/bin/python -m benchmarks.portal_live            # 20 runs, less than a minute

One instance with its portal and a headless Chromium on the same machine, so that both read one clock. The job prints
the instant at which it prints; the page says when the line was there. The exit code is 1 when the median misses.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, percentile, table
from benchmarks.instance import Instance
from tests.support.chromium import FIRST_LINE_SEEN, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUNS = 20
SEEN_MILLISECONDS_MAX = 300.0
PASSWORD = "a password of the benchmark"
SETTINGS = """
[worker]
count = 2
[portal]
enabled = true
port = {port}
"""
JOB = """
[[job]]
name = "tells"
command = "sleep 1; echo $(date +%s%3N)\\\\;; sleep 0.2"
overlap = "allow"
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    with signed_in() as (page, root):
        waits = sorted(seen(page, root) for _ in range(given.runs))
    name = f"from the printing of a line to the browser, of {given.runs} runs"
    figures = [
        Figure(f"{name}, p50", percentile(waits, 0.5), "ms", SEEN_MILLISECONDS_MAX),
        Figure(f"{name}, p90", percentile(waits, 0.9), "ms"),
        Figure(f"{name}, the slowest", waits[-1], "ms"),
    ]
    sys.stdout.write(table(figures) + "\n")
    return int(any(figure.verdict == "MISSED" for figure in figures))


@contextmanager
def signed_in() -> Iterator[tuple[Page, str]]:
    """Start an instance and a browser; yields a page that is signed in, and the portal's address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    root = f"http://127.0.0.1:{port}"
    with Instance(SETTINGS.format(port=port), JOB) as instance, chromium() as browser:
        instance.run("user", "add", "bench", "--role", "operator", given=PASSWORD)
        page = browser.new_page()
        page.goto(f"{root}/login")
        page.get_by_label("Name").fill("bench")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="bench", exact=True).wait_for()
        yield page, root


def seen(page: Page, root: str) -> float:
    """Run the job with the button; returns the milliseconds from its line's printing to its being there."""
    page.goto(f"{root}/jobs/tells")
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url("**/runs/*")
    seen_at, line = page.evaluate(FIRST_LINE_SEEN)
    return float(seen_at) - int(line.partition(";")[0])


if __name__ == "__main__":
    sys.exit(main())
