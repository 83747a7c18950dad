"""The picture of the whole, as a dictionary for `status`, and as lines for the log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from jobsup.clock import rfc3339
from jobsup.runtime import procs
from jobsup.supervisor.child import Child
from jobsup.supervisor.crew import Crew
from jobsup.supervisor.pool import Slot
from jobsup.supervisor.yard import Yard


def children(crew: Crew, yard: Yard, now: float, *, with_memory: bool = False) -> list[dict[str, Any]]:
    """List one entry for each slot, and one for each further process: replacements, and those that leave."""
    shown: set[int] = set()
    entries: list[dict[str, Any]] = []
    for slot in (slot for pool in crew for slot in sorted(pool, key=lambda slot: slot.number)):
        entries.append(_slot_entry(slot, now, with_memory))
        if slot.child is not None:
            shown.add(slot.child.pid)
    entries += [_child_entry(child, 0, "", with_memory) for child in yard if child.pid not in shown]
    if yard.guardian is not None:
        entries.append(_guardian_entry(yard, with_memory))
    return entries


def process(started_at: datetime, instance: str, *, with_memory: bool = False) -> dict[str, Any]:
    """Tell what this process, the supervisor, is."""
    pss = {"pss_bytes": procs.pss_bytes(os.getpid())} if with_memory else {}
    return {"pid": os.getpid(), "started_at": rfc3339(started_at), "instance": instance, **pss}


def lines(status: dict[str, Any]) -> Iterator[str]:
    """Write a status for people and for the log, one line for each child."""
    supervisor = status["supervisor"]
    yield f"state {status['state']}, generation {supervisor['generation']}, supervisor pid {supervisor['pid']}"
    for child in status["children"]:
        known = ((key, child.get(key)) for key in ("pid", "restarts", "last_exit", "next_start_in", "heartbeat_age"))
        facts = ", ".join(f"{key} {value}" for key, value in known if value not in (None, ""))
        yield f"{child['kind']}-{child['slot']}: {child['state']}, {facts}"


def _slot_entry(slot: Slot, now: float, with_memory: bool) -> dict[str, Any]:
    if slot.child is not None:
        return _child_entry(slot.child, slot.restarts, slot.last_exit, with_memory)
    return {
        "kind": slot.spec.kind,
        "slot": slot.number,
        "pid": None,
        "state": "starting" if slot.rest is None else str(slot.rest),
        "restarts": slot.restarts,
        "last_exit": slot.last_exit,
        "since": rfc3339(slot.rest_since),
        "facts": {},
        "next_start_in": round(max(0.0, slot.start_at - now), 3) if slot.start_at != float("inf") else None,
        "heartbeat_age": None,
    }


def _child_entry(child: Child, restarts: int, last_exit: str, with_memory: bool) -> dict[str, Any]:
    entry = {
        "kind": child.spec.kind,
        "slot": child.slot,
        "pid": child.pid,
        "state": str(child.state),
        "restarts": restarts,
        "last_exit": last_exit,
        "since": rfc3339(child.since),
        "facts": child.facts,
        "next_start_in": None,
        "heartbeat_age": round(child.heartbeat_age, 3),
        "statements": child.statements,
    }
    if with_memory:
        entry["pss_bytes"] = procs.pss_bytes(child.pid)
    return entry


def _guardian_entry(yard: Yard, with_memory: bool) -> dict[str, Any]:
    assert yard.guardian is not None  # noqa: S101  # asked only when there is one
    entry: dict[str, Any] = {
        "kind": "guardian",
        "slot": 1,
        "pid": yard.guardian.pid,
        "state": "ready",
        "restarts": yard.guardian_restarts,
        "last_exit": "",
        "facts": {},
    }
    if with_memory:
        entry["pss_bytes"] = procs.pss_bytes(yard.guardian.pid)
    return entry
