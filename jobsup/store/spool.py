"""Results kept on disk while the database is away: whoever comes next on this host writes them.

A worker keeps each result that it cannot write in a file of its own, and forgets it once it is written. What is there
when its worker has gone (killed, or stopped while the database was still away) is written before that worker's runs
are closed as lost. It is written as that worker, so a run that was closed meanwhile, or has its result, stays as it is.
A worker that this database has never heard of belongs to another one: its files are left alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import select

from jobsup.errors import DatabaseUnavailableError
from jobsup.events import emit
from jobsup.model import CapturedOutput, Progress, Reason, RunResult, Status, WorkerFacts
from jobsup.store import rounds
from jobsup.store.engine import Database
from jobsup.store.rounds import Worker
from jobsup.store.rows import WorkerRegistration

FOLDER = "results"
"""Below the state folder of the instance."""
SUFFIX = ".result"
UNUSABLE_SUFFIX = ".unusable"
LEFT_MAX = 10_000
"""So many files are looked at in one go; the next look takes the next ones."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker whose result it is, and how to tell whether it still lives."""

    worker_id: str
    node: str
    boot_id: str
    pid_namespace: str
    process_id: int
    process_started: int

    @classmethod
    def of(cls, worker_id: str, facts: WorkerFacts) -> Owner:
        """Return a worker that has just been registered."""
        process = (facts.process_id, facts.process_started)
        return cls(worker_id, facts.node, facts.boot_id, facts.pid_namespace, *process)


@dataclass(frozen=True, slots=True)
class Left:
    """A result that was left behind."""

    path: Path
    owner: Owner
    result: RunResult


class Spool:
    """Where one worker keeps its results. A disk that fails is told once: they wait in memory all the same."""

    def __init__(self, state_dir: str | Path, owner: Owner) -> None:
        self._folder = folder_in(state_dir)
        self._owner = owner
        self._kept: dict[int, Path] = {}
        self._has_failed = False

    @property
    def folder(self) -> Path:
        return self._folder

    def keep(self, results: Iterable[RunResult]) -> None:
        """Have each of them on disk from now on; those that are there already are left as they are."""
        for result in results:
            if result.dispatch_id in self._kept:
                continue
            path = self._folder / f"{self._owner.worker_id}-{result.dispatch_id}{SUFFIX}"
            try:
                _write(path, self._owner, result)
            except OSError as error:
                self._complain(error)
                return
            self._kept[result.dispatch_id] = path

    def has_all(self, results: Iterable[RunResult]) -> bool:
        return all(result.dispatch_id in self._kept for result in results)

    def forget(self, dispatch_ids: Iterable[int]) -> None:
        """Let go of what the database has now."""
        if self._kept:
            for dispatch_id in dispatch_ids:
                if (path := self._kept.pop(dispatch_id, None)) is not None:
                    path.unlink(missing_ok=True)

    def _complain(self, error: OSError) -> None:
        if not self._has_failed:
            emit(
                "spool.failed",
                f"{self._owner.worker_id}: results cannot be kept in {self._folder} while the database is away: "
                f"{error.strerror}; they wait in memory",
                level=logging.ERROR,
                error=str(error),
            )
        self._has_failed = True


def folder_in(state_dir: str | Path) -> Path:
    """Return where results are kept in the state folder of an instance."""
    return Path(state_dir) / FOLDER


def write_left(
    database: Database, state_dir: str | Path, *, here: tuple[str, str], is_alive: Callable[[int, int], bool]
) -> int:
    """Write what workers that are gone have left; returns how many results are in the database now.

    `here` is this boot and pid namespace, whose processes alone `is_alive(pid, start ticks)` is asked about: living
    workers write their own. Raises DatabaseUnavailableError with nothing forgotten when the database does not answer.
    """
    found = [left for left in _read_all(folder_in(state_dir)) if not _lives(left.owner, here, is_alive)]
    if not found:
        return 0
    known = _known(database, {left.owner.worker_id for left in found})
    ours = sorted((left for left in found if left.owner.worker_id in known), key=lambda left: left.owner.worker_id)
    return sum(_write_of(database, owner, list(group)) for owner, group in groupby(ours, key=lambda left: left.owner))


def _lives(owner: Owner, here: tuple[str, str], is_alive: Callable[[int, int], bool]) -> bool:
    return (owner.boot_id, owner.pid_namespace) == here and is_alive(owner.process_id, owner.process_started)


def _known(database: Database, worker_ids: Iterable[str]) -> set[str]:
    with database.read() as connection:
        named = select(WorkerRegistration.worker_id).where(WorkerRegistration.worker_id.in_(sorted(worker_ids)))
        return set(connection.execute(named).scalars())


def _write_of(database: Database, owner: Owner, found: Sequence[Left]) -> int:
    """Write one after the other, so that one the database does not take stops no other."""
    written = 0
    for left in found:
        try:
            is_taken = not rounds.finish(database, Worker(owner.worker_id, owner.node), [left.result])
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, the others are not to wait for it)
            _set_aside(left.path, repr(error))
            continue
        _tell(left, is_taken=is_taken)
        left.path.unlink(missing_ok=True)
        written += is_taken
    return written


def _tell(left: Left, *, is_taken: bool) -> None:
    run, of = left.result.dispatch_id, left.owner.worker_id
    if is_taken:
        text = f"Dispatch {run}: {left.result.status}, as {of} had kept on disk while the database was away"
        emit("result.recovered", text, dispatch_id=run, worker_id=of)
        return
    text = f"Dispatch {run}: the result that {of} had kept on disk came too late, it had been closed before"
    emit("dispatch.refused", text, level=logging.WARNING, dispatch_id=run, worker_id=of)


def _set_aside(path: Path, why: str) -> None:
    kept = path.with_suffix(UNUSABLE_SUFFIX)
    with suppress(OSError):
        path.rename(kept)
    emit("result.unusable", f"A kept result cannot be written: {why}; it is in {kept}", level=logging.ERROR, error=why)


# The files: a line of JSON, then the bytes of the output


def _write(path: Path, owner: Owner, result: RunResult) -> None:
    """Write it whole or not at all, for this user's eyes only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = asdict(replace(result, output=replace(result.output, data=b"")))
    told["output"]["data"] = len(result.output.data)
    head = json.dumps({"owner": asdict(owner), "result": told}, default=datetime.isoformat).encode()
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines((head, b"\n", result.output.data))
    part.rename(path)


def _read_all(folder: Path) -> list[Left]:
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
    except OSError:  # the usual case: nothing was ever kept
        return []
    return [left for name in sorted(names)[:LEFT_MAX] if (left := _read(folder / name)) is not None]


def _read(path: Path) -> Left | None:
    try:
        head, _, data = path.read_bytes().partition(b"\n")
        told = json.loads(head)
        return Left(path, Owner(**told["owner"]), _result(told["result"], data))
    except FileNotFoundError:  # its worker has written it meanwhile
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        _set_aside(path, f"it is not whole ({error})")
        return None


def _result(told: dict[str, Any], data: bytes) -> RunResult:
    output, progress = told["output"], told["progress"]
    if len(data) != output["data"]:
        raise ValueError(f"{len(data)} bytes of {output['data']}")
    return RunResult(
        **{
            **told,
            "status": Status(told["status"]),
            "reason": Reason(told["reason"]),
            "finished_at": datetime.fromisoformat(told["finished_at"]),
            "started_at": None if told["started_at"] is None else datetime.fromisoformat(told["started_at"]),
            "output": CapturedOutput(**{**output, "data": data, "marks": tuple(map(tuple, output["marks"]))}),
            "progress": None if progress is None else Progress(**progress),
        }
    )
