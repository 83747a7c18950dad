"""The checker accepts a history in which all went as promised, and rejects each way of breaking it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import checker
from tests.support.checker import (
    Attempt,
    Fault,
    FaultKind,
    History,
    JobLaw,
    Mark,
    Request,
    Sample,
    Usage,
    Window,
    explain,
    judge,
    ledger_job,
)
from tests.support.checker.history import read_ledger
from tests.support.checker.runs import OVERLAP_WORDS, overlaps_after_freeze
from tests.support.checker.watch import Witness
from tests.support.waiting import until

REAL_LESS_MONO = 900.0
"""What the clock of the day shows beyond the monotonic one, in the history below."""
USED = Usage(descriptors=12, threads=2, memory=20 << 20)
ONE, TWO = 11, 22
"""The network namespaces of two hosts."""


class Author:
    """Writes a history of a house in which job "a" ticks every 10 s, "b" every 5 s, and "hand" runs when asked."""

    def __init__(self) -> None:
        self.rows: list[Attempt] = []
        self.marks: list[Mark] = []
        self.deaths: dict[str, float] = {}

    def run(self, job: str, at: float, *, seconds: float | None = 1.0, network: int = ONE, **row: Any) -> Attempt:
        """Add an attempt that began at `at`; `seconds` None: it was killed, and its caller says when."""
        run = len(self.rows) + 1
        is_done = seconds is not None
        made = {
            "source": "schedule",
            "status": "COMPLETED",
            "created_at": at,
            "claimed_at": at,
            "started_at": at + 0.05,
            "completed_at": at + (seconds or 0.0) + 0.1,
            "worker_id": f"worker-{network}",
            "host": {ONE: "one", TWO: "two"}[network],
            "epoch": 1,
            "exit_code": 0 if is_done else None,
            "output": "".join(f"line {number} of run {run}\n" for number in range(1, 3 + 1)) if is_done else "",
            **row,
        }
        self.rows.append(Attempt(id=run, job=job, **made))
        if made["status"] == "SKIPPED":
            return self.rows[-1]
        tick = made.get("scheduled_for")
        told = "" if tick is None else f"1970-01-01T00:{int(tick) // 60:02}:{int(tick) % 60:02}Z"
        mark = Mark(
            "start", job, run, made.get("retry_count", 0) + 1, told, 1000 + run, 7, at + 0.05,
            at + 0.05 - REAL_LESS_MONO, network,
        )  # fmt: skip
        self.marks.append(mark)
        if seconds is not None:
            gone = replace(mark, kind="end", real=at + seconds, mono=at + seconds - REAL_LESS_MONO)
            self.marks.append(replace(gone, exit=made["exit_code"], lines=3))
        return self.rows[-1]

    def killed(self, row: Attempt, at: float) -> None:
        self.deaths[f"{1000 + row.id}/7"] = at - REAL_LESS_MONO


def write() -> History:
    """Two minutes: host one is killed at 1042 with a run on it, host two stands still from 1070 to 1090."""
    author = Author()
    skipped = {"status": "SKIPPED", "started_at": None, "claimed_at": None, "worker_id": None, "host": None}
    for tick in range(1000, 1120, 10):
        epoch = 1 if tick < 1042 else 2
        if tick == 1040:
            lost = author.run(
                "a", 1040.1, seconds=None, scheduled_for=1040.0, status="TIMEOUT", reason="worker_lost",
                completed_at=1043.5, message="its worker was lost",
            )  # fmt: skip
            author.killed(lost, 1042.02)
            author.run("a", 1043.6, network=TWO, scheduled_for=1040.0, source="retry", retry_of=lost.id, retry_count=1)
        elif tick == 1070:
            frozen = author.run(
                "a", 1070.1, seconds=19.5, network=TWO, scheduled_for=1070.0, epoch=2, status="TIMEOUT",
                reason="worker_lost", completed_at=1085.0, message=f"not heard of: it {OVERLAP_WORDS}", exit_code=None,
            )  # fmt: skip
            author.marks[-1] = replace(author.marks[-1], exit=0)
            author.run("a", 1085.1, scheduled_for=1070.0, source="retry", retry_of=frozen.id, retry_count=1, epoch=2)
        elif tick == 1080:
            author.run(
                "a",
                1080.1,
                scheduled_for=1080.0,
                reason="overlap",
                output=None,
                completed_at=1080.1,
                epoch=2,
                **skipped,
            )
        else:
            author.run("a", tick + 0.1, scheduled_for=float(tick), epoch=epoch)
    for tick in range(1000, 1120, 5):
        if tick == 1045:
            ranged = {"skipped_until": 1050.0, "skipped_count": 2, "reason": "missed", "output": None}
            author.run("b", 1051.0, scheduled_for=1045.0, completed_at=1051.0, epoch=2, **ranged, **skipped)
        elif tick == 1060:
            first = author.run(
                "b", 1060.1, scheduled_for=1060.0, epoch=2, status="FAILED", reason="exit_code", exit_code=3
            )
            author.run("b", 1062.1, scheduled_for=1060.0, source="retry", retry_of=first.id, retry_count=1, epoch=2)
        elif tick != 1050:
            author.run("b", tick + 0.1, scheduled_for=float(tick), epoch=1 if tick < 1042 else 2)
    by_hand = author.run("hand", 1033.0, source="manual", epoch=None)
    # Rows are numbered as they are made.
    rows = tuple(sorted(author.rows, key=lambda row: row.created_at))
    number = {row.id: index for index, row in enumerate(rows, start=1)}
    renumbered = tuple(_renumbered(row, number) for row in rows)
    final = {row.id: row.status for row in renumbered}
    early = {
        row.id: "IN_PROGRESS" if row.status != "SKIPPED" else "SKIPPED" for row in renumbered if row.created_at < 1060
    }
    return History(
        jobs=(JobLaw("a", 10.0, lines=3), JobLaw("b", 5.0, lines=3), JobLaw("hand", lines=3)),
        window=Window(995.0, 1000.0, 1120.0, 1125.0),
        attempts=renumbered,
        marks=tuple(replace(mark, run=number[mark.run]) for mark in author.marks),
        read_at=1150.0,
        faults=(Fault(FaultKind.KILL, 1042.0, 1042.1, "one"), Fault(FaultKind.FREEZE, 1070.5, 1090.0, "two")),
        requests=(Request("hand", "ok", 1032.9, number[by_hand.id]), Request("hand", "failed", 1050.0)),
        deaths=author.deaths,
        samples=(Sample(1060.0, early), Sample(1140.0, final)),
        hosts={ONE: "one", TWO: "two"},
        used_before={"one/worker-0": USED, "two/scheduler-0": USED},
        used_after={"one/worker-0": replace(USED, memory=21 << 20), "two/scheduler-0": USED},
    )


def _renumbered(row: Attempt, number: dict[int, int]) -> Attempt:
    output = row.output.replace(f"of run {row.id}\n", f"of run {number[row.id]}\n") if row.output else row.output
    retry_of = None if row.retry_of is None else number[row.retry_of]
    return replace(row, id=number[row.id], retry_of=retry_of, output=output)


CLEAN = write()


def find(job: str, tick: float | None, retry_count: int = 0) -> Attempt:
    return next(r for r in CLEAN.attempts if (r.job, r.scheduled_for, r.retry_count) == (job, tick, retry_count))


def changed(row: Attempt, **values: Any) -> History:
    rows = tuple(replace(each, **values) if each.id == row.id else each for each in CLEAN.attempts)
    return replace(CLEAN, attempts=rows)


def without(row: Attempt) -> History:
    return replace(CLEAN, attempts=tuple(each for each in CLEAN.attempts if each.id != row.id))


def more(row: Attempt, **values: Any) -> History:
    extra = replace(row, id=len(CLEAN.attempts) + 1, **values)
    return replace(CLEAN, attempts=(*CLEAN.attempts, extra))


def marked(run: int, kind: str, **values: Any) -> History:
    marks = (replace(m, **values) if (m.run, m.kind) == (run, kind) else m for m in CLEAN.marks)
    return replace(CLEAN, marks=tuple(marks))


def unmarked(run: int, kind: str) -> History:
    return replace(CLEAN, marks=tuple(m for m in CLEAN.marks if (m.run, m.kind) != (run, kind)))


def doubled(row: Attempt, **values: Any) -> History:
    return replace(CLEAN, marks=(*CLEAN.marks, *(replace(m, **values) for m in CLEAN.marks if m.run == row.id)))


A20, A70, B5, B45, B60 = find("a", 1020.0), find("a", 1070.0), find("b", 1005.0), find("b", 1045.0), find("b", 1060.0)
A40, A70_AGAIN, A80, A110 = find("a", 1040.0), find("a", 1070.0, 1), find("a", 1080.0), find("a", 1110.0)
HAND = find("hand", None)
NEXT_LEADER = [row for row in CLEAN.attempts if 1042 < row.created_at < 1056]


def holding(**values: int) -> History:
    return replace(CLEAN, used_after={**CLEAN.used_after, "one/worker-0": replace(USED, **values)})


MUTATIONS: dict[str, tuple[str, Callable[[], History]]] = {
    "a tick has no row": ("P1", lambda: without(B5)),
    "a tick has two rows": ("P1", lambda: more(A20)),
    "a range of skipped ticks counts one too few": ("P1", lambda: changed(B45, skipped_count=1)),
    "a range of skipped ticks spans one that ran": ("P1", lambda: changed(B45, skipped_until=1055.0, skipped_count=3)),
    "a tick was skipped for an overlap that was none": ("P1", lambda: changed(A20, status="SKIPPED", reason="overlap")),
    "a tick was missed while nothing was wrong": ("P1", lambda: changed(B5, status="SKIPPED", reason="missed")),
    "a tick was skipped for no reason": ("P1", lambda: changed(A80, reason="")),
    "a tick ran at an instant that is none": ("P2", lambda: more(A20, scheduled_for=1023.0)),
    "a tick ran before there was a job": ("P2", lambda: more(A20, scheduled_for=980.0)),
    "a run by hand that nobody asked for": ("P2", lambda: more(HAND)),
    "a run by hand that was promised is not there": ("P2", lambda: without(HAND)),
    "a retry of nothing": ("P2", lambda: changed(A70_AGAIN, retry_of=999)),
    "a row came late": ("P3", lambda: changed(A20, created_at=1026.0)),
    "a row was there before its time": ("P3", lambda: changed(A20, created_at=1015.0)),
    "a run began late": ("P3", lambda: marked(A20.id, "start", real=1028.0)),
    "a row came long after the fault": ("P3", lambda: changed(A110, created_at=1119.0)),
    "attempt numbers have a gap": ("P4", lambda: changed(A70_AGAIN, retry_count=2)),
    "an attempt too many": (
        "P4",
        lambda: replace(CLEAN, jobs=(replace(CLEAN.jobs[0], attempts_max=1), *CLEAN.jobs[1:])),
    ),
    "a run that ended well was tried again": ("P4", lambda: changed(A70, status="COMPLETED")),
    "one run began twice": ("P4", lambda: doubled(A20)),
    "a run began that has no row": ("P4", lambda: doubled(A20, run=999)),
    "a run began before it was claimed": ("P4", lambda: changed(A20, claimed_at=1021.0)),
    "a run began after it was closed": ("P4", lambda: marked(A40.id, "start", real=1044.0)),
    "a run was told another tick": ("P4", lambda: marked(A20.id, "start", scheduled_for="1970-01-01T00:17:10Z")),
    "a lost run was not tried again": ("P4", lambda: without(find("a", 1040.0, 1))),
    "two runs of a job overlap": ("P5", lambda: marked(A20.id, "end", mono=1031.0 - REAL_LESS_MONO)),
    "a killed run lived on beside its retry": (
        "P5",
        lambda: replace(CLEAN, deaths={name: at + 3 for name, at in CLEAN.deaths.items()}),
    ),
    "a killed run was never seen dead": ("P5", lambda: replace(CLEAN, deaths={})),
    "an overlap after a freeze is not told": ("P5", lambda: changed(A70, message="it was lost")),
    "the late result after a freeze was taken": ("P5", lambda: changed(A70, status="COMPLETED")),
    "an overlap without a freeze": ("P5", lambda: replace(CLEAN, faults=CLEAN.faults[:1])),
    "a run waits for ever": ("P6", lambda: changed(A20, status="PENDING")),
    "a run is running for ever": ("P6", lambda: changed(A20, status="IN_PROGRESS", completed_at=None)),
    "a run was lost for no reason": ("P6", lambda: changed(A40, reason="")),
    "a row that had ended changed": (
        "P6",
        lambda: replace(CLEAN, samples=(*CLEAN.samples, Sample(1141.0, {A20.id: "FAILED"}))),
    ),
    "a row that had ended ran again": (
        "P6",
        lambda: replace(CLEAN, samples=(Sample(1030.0, {A20.id: "COMPLETED"}), *CLEAN.samples)),
    ),
    "a run that failed is told as well": ("P7", lambda: marked(A20.id, "end", exit=1)),
    "a run that never ended is told as well": ("P7", lambda: unmarked(A20.id, "end")),
    "a run that never began is told to have ended well": ("P7", lambda: unmarked(A20.id, "start")),
    "a run that ended well is told as failed": ("P7", lambda: marked(B60.id, "end", exit=0)),
    "a run was lost on a host that nothing befell": ("P7", lambda: replace(CLEAN, faults=CLEAN.faults[1:])),
    "a run is told to have passed a deadline that was far": ("P7", lambda: changed(A40, reason="deadline")),
    "a process is left": ("P7", lambda: replace(CLEAN, survivors=(4711,))),
    "a line of output is missing": ("P8", lambda: changed(A20, output=(A20.output or "").split("\n", 1)[1])),
    "a line of output is there twice": ("P8", lambda: changed(A20, output=2 * (A20.output or ""))),
    "the output is another run's": ("P8", lambda: changed(A20, output=B5.output)),
    "there is no output at all": ("P8", lambda: changed(A20, output=None)),
    "a term wrote after the next one had begun": ("P9", lambda: changed(A110, epoch=1)),
    "a tick is of no term": ("P9", lambda: changed(A20, epoch=None)),
    "nobody led after the leader's host was killed": (
        "P9",
        lambda: replace(
            CLEAN,
            attempts=tuple(replace(r, created_at=1057.0) if r in NEXT_LEADER else r for r in CLEAN.attempts),
            bounds=replace(CLEAN.bounds, recovery=20.0),
        ),
    ),
    "a row that was seen is gone": ("P10", lambda: replace(without(HAND), requests=())),
    "a run that began is gone": ("P10", lambda: replace(without(B5), samples=())),
    "the attempt before a retry is gone": ("P10", lambda: without(A70)),
    "a process holds more descriptors than before": ("P11", lambda: holding(descriptors=15)),
    "a thread is left": ("P11", lambda: holding(threads=3)),
    "memory was not given back": ("P11", lambda: holding(memory=40 << 20)),
    "a dead child was not buried": ("P11", lambda: holding(zombies=1)),
    "a process is not there any more": ("P11", lambda: replace(CLEAN, used_after={})),
    "a kept result is left on disk": ("P11", lambda: replace(CLEAN, files_left=("results/worker-1-2.result",))),
    "a start is in no tick's time": ("P12", lambda: marked(A20.id, "start", real=1028.0)),
    "two starts are in the time of one tick": ("P12", lambda: marked(B5.id, "start", real=1010.2)),
    "a tick that ran has no start": ("P12", lambda: unmarked(A20.id, "start")),
    "a tick has a start too many": ("P12", lambda: doubled(A20, pid=4711)),
    "a run has two rows": ("P10", lambda: replace(CLEAN, attempts=(*CLEAN.attempts, A20))),
}


def test_a_history_in_which_all_went_as_promised_is_accepted() -> None:
    assert explain(CLEAN, judge(CLEAN)) == "valid"
    assert overlaps_after_freeze(CLEAN) == 1


def test_a_process_that_stood_still_may_begin_right_after_the_thaw_if_its_row_says_so() -> None:
    history, late = thawed(1090.02)
    assert explain(history, judge(history)) == "valid"
    assert overlaps_after_freeze(history) == 1
    silent = replace(late, message="it was lost")
    rows = tuple(silent if row.id == late.id else row for row in history.attempts)
    assert {each.property for each in judge(replace(history, attempts=rows))} == {"P4", "P5"}


def test_a_process_that_begins_long_after_the_thaw_is_not_excused() -> None:
    history, _ = thawed(1090.5)
    assert {each.property for each in judge(history)} == {"P4"}


def thawed(begun: float) -> tuple[History, Attempt]:
    """Run a/1070 was launched, stood still before its first line, wrote it at `begun` and was killed; its retry ran."""
    late, again = A70, A70_AGAIN
    marks = []
    for mark in CLEAN.marks:
        if mark.run == late.id and mark.kind == "start":
            marks.append(replace(mark, real=begun, mono=begun - REAL_LESS_MONO))
        elif mark.run == again.id and mark.kind == "end":
            marks.append(replace(mark, real=1090.08, mono=1090.08 - REAL_LESS_MONO))
        elif mark.run != late.id:
            marks.append(mark)
    pid = next(mark.pid for mark in CLEAN.marks if mark.run == late.id)
    deaths = {**CLEAN.deaths, f"{pid}/7": begun + 0.01 - REAL_LESS_MONO}
    rows = tuple(replace(row, output="") if row.id == late.id else row for row in CLEAN.attempts)
    history = replace(CLEAN, marks=tuple(marks), deaths=deaths, attempts=rows)
    return history, history.by_id[late.id]


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_history_is_rejected_in_which(name: str) -> None:
    wanted, mutate = MUTATIONS[name]
    assert wanted in {violation.property for violation in judge(mutate())}


def test_each_property_has_three_histories_that_break_it() -> None:
    broken = [wanted for wanted, _ in MUTATIONS.values()]
    assert {f"P{number}" for number in range(1, 13)} == {each for each in broken if broken.count(each) >= 3}


def test_a_violation_is_told_with_its_job_its_tick_and_what_happened_around_it() -> None:
    history = MUTATIONS["a killed run lived on beside its retry"][1]()
    told = explain(history, judge(history)).splitlines()
    assert told[0].startswith("P5 is violated: job a,")
    assert any("fault:  kill of one begins" in line for line in told)
    assert any("ledger: run" in line and "start on two" in line for line in told)
    assert any("TIMEOUT worker_lost" in line for line in told)
    told_in_order = [line.split()[0] for line in told[1:] if line.startswith("  00:")]
    assert told_in_order == sorted(told_in_order)


def test_a_history_is_the_same_after_it_was_kept_and_read(tmp_path: Path) -> None:
    CLEAN.save(tmp_path / "history.json")
    assert History.load(tmp_path / "history.json") == CLEAN


def test_the_checker_shares_no_code_with_what_it_judges() -> None:
    for path in Path(checker.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "jobsup"], path


def job(ledger: Path, *arguments: str) -> subprocess.Popen[str]:
    told = {"JOBSUP_JOB": "a", "JOBSUP_RUN_ID": "5", "JOBSUP_ATTEMPT": "1", "JOBSUP_SCHEDULED_FOR": ""}
    command = [sys.executable, "-I", "-S", ledger_job.__file__, str(ledger), *arguments]
    return subprocess.Popen(command, env=told, stdout=subprocess.PIPE, text=True)


def test_a_job_testifies_to_its_start_and_end_and_a_witness_to_its_death(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    witness = Witness(ledger)
    ended = job(ledger, "--lines", "2", "--exit", "3")
    assert ended.communicate(timeout=10)[0] == "line 1 of run 5\nline 2 of run 5\n"
    assert ended.returncode == 3
    killed = job(ledger, "--seconds", "60")
    until(lambda: len(read_ledger(ledger)) == 3, 10, "the second job to write")
    killed.kill()
    killed.wait(timeout=5)
    start, end, other = read_ledger(ledger)
    name = f"{other.pid}/{other.started}"
    until(lambda: name in witness.deaths, 5, "the witness to see it die")
    assert witness.close()[name] >= other.mono
    assert (start.kind, end.kind, end.exit, end.lines) == ("start", "end", 3, 2)
    assert (start.pid, start.mono <= end.mono) == (ended.pid, True)
    killed.communicate()
