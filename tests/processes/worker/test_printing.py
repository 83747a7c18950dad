"""Whatever a run prints: every byte up to the cap, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobsup.store import dispatches
from jobsup.store.models import JobExecutionLog
from tests.support.waiting import PATIENCE, until
from tests.support.worker import Bench, quiet_seconds, working

MIB = 1 << 20


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with working(tmp_path_factory.mktemp("worker"), concurrency=3) as bench:
        yield bench


def peak_memory(bench: Bench) -> int:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{bench.pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def test_two_hundred_mebibytes_are_read_in_flat_memory_and_head_and_tail_are_kept(bench: Bench) -> None:
    bench.until_ended(bench.run(command="head -c 3000000 /dev/zero", output_limit=MIB))
    before = peak_memory(bench)
    size = 200 * MIB
    run = bench.run(command=f"printf begin; head -c {size - 8} /dev/zero; printf end", output_limit=MIB)
    row = bench.until_ended(run, 30)
    log = bench.execution(run)
    assert row["status"] == "COMPLETED"
    assert log is not None
    assert (log["output_bytes"], log["output_dropped"], log["output_gap_at"]) == (size, size - MIB, MIB // 2)
    assert bytes(log["log_output"]).startswith(b"begin\0")
    assert bytes(log["log_output"]).endswith(b"\0end")
    assert len(log["log_output"]) == MIB
    assert peak_memory(bench) - before < 12 * MIB


def test_one_line_without_an_end_is_output_like_any_other(bench: Bench) -> None:
    run = bench.run(command="head -c 5000000 /dev/zero | tr '\\0' x", output_limit=8 * MIB)
    bench.until_ended(run)
    assert bench.output(run) == b"x" * 5_000_000


def test_random_bytes_come_out_as_they_went_in(bench: Bench) -> None:
    data = os.urandom(900_000)
    (bench.folder / "random").write_bytes(data)
    run = bench.run(command=("cat", str(bench.folder / "random")))
    bench.until_ended(run)
    assert hashlib.sha256(bench.output(run)).digest() == hashlib.sha256(data).digest()


def test_a_character_split_between_two_writes_is_whole_again(bench: Bench) -> None:
    run = bench.run(command="printf 'gr\\303'; sleep 0.4; printf '\\274n\\n'")
    bench.until_ended(run)
    assert JobExecutionLog(log_output=bench.output(run), output_dropped=0).text == "grün\n"


def test_merged_streams_keep_the_exact_order(bench: Bench) -> None:
    command = "i=0; while [ $i -lt 200 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"
    run = bench.run(command=command, stderr="merge")
    bench.until_ended(run)
    expected = "".join(f"o{number}\ne{number}\n" for number in range(200))
    assert bench.output(run).decode() == expected


def test_live_output_can_be_read_while_the_run_goes_on(bench: Bench) -> None:
    run = bench.run(command="echo first; sleep 0.7; echo second >&2; sleep 30")
    until(lambda: bench.live(run) == b"first\n", 0.6, "the first live line", bench.told)
    until(lambda: bench.live(run) == b"first\nsecond\n", 1.5, "the second live line", bench.told)
    assert bench.execution(run) is None
    dispatches.cancel(bench.database, run, "test")
    bench.until_ended(run)
    assert bench.live(run) == b""
    assert bench.output(run) == b"first\nsecond\n"


def test_live_output_past_the_cap_is_the_head_and_the_latest(bench: Bench) -> None:
    # 2,000 numbered lines of 10 bytes; of 8,000 bytes kept, half are from each end.
    command = "i=0; while [ $i -lt 2000 ]; do printf '%09d\\n' $i; i=$((i+1)); done; sleep 0.8; echo last; sleep 30"
    run = bench.run(command=command, output_limit=8_000)
    until(lambda: bench.live(run).endswith(b"last\n"), PATIENCE, "the last line", bench.told)
    live = bench.live(run)
    assert live.startswith(b"".join(b"%09d\n" % number for number in range(400)))
    assert b"%09d\n" % 1999 in live
    assert len(live) <= 2 * 8_000
    dispatches.cancel(bench.database, run, "test")
    log = bench.until_ended(run) and bench.execution(run)
    assert log is not None
    assert (log["output_bytes"], log["output_dropped"]) == (20_005, 12_005)


def test_one_run_that_prints_without_end_starves_no_other(bench: Bench) -> None:
    loud = bench.run(command="yes", output_limit=1_000)
    bench.until_started(loud)
    quiet = bench.run(command="echo quiet")
    assert bench.until_ended(quiet, 5)["status"] == "COMPLETED"
    dispatches.cancel(bench.database, loud, "test")
    assert bench.until_ended(loud, 5)["reason"] == "cancelled"


def test_an_idle_worker_costs_nothing_after_all_that(bench: Bench) -> None:
    def cpu_ticks() -> int:
        fields = Path(f"/proc/{bench.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = cpu_ticks()
    quiet_seconds(1.0)
    assert cpu_ticks() - before <= 2  # of 100 in a second
