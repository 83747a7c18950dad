"""A worker claims, runs and records: the plain ways a run goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.worker import Bench, working


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker")) as bench:
        yield bench


def test_a_command_is_claimed_run_and_recorded(bench: Bench) -> None:
    run = bench.run("hello", command="echo out; echo err >&2")
    row = bench.until_ended(run)
    log = bench.execution(run)
    assert (row["status"], row["reason"], row["error_message"]) == ("COMPLETED", "", None)
    assert row["worker_id"].startswith("worker-")
    assert log is not None
    assert sorted(bytes(log["log_output"]).splitlines()) == [b"err", b"out"]
    assert log["exit_code"] == 0
    assert log["pid"] > 0
    assert log["max_rss"] > 0
    assert f"Claimed job dispatch {run}" in bench.told()
    bench.until_logged(f'Dispatch {run} (job "hello") completed in 0.')
