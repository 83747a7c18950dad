"""What a runner says of a call that is over, in a few bytes: its figures in places of their own, then how it ended.

Of most calls there is nothing to say but figures and perhaps a result, and to write and read that as JSON would take
longer than the call. Whatever else a runner says is JSON, which begins with a brace, or only meant to wake the worker.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

READY = b'{"ready": true}'
WAKE = b"!"
"""There are answers on the board."""
_RETURNED, _OTHERWISE = b"r", b"o"
"""What follows the figures: the result as it is (nothing: none), or JSON that says how the call ended."""
_FIGURES = struct.Struct("<cq?ddqqddqqqq")


class Answer(NamedTuple):
    """How a call ended; instants on the monotonic clock, sizes in bytes, times in seconds."""

    number: int
    has_children: bool
    """It has left processes behind."""
    began: float
    ended: float
    out: int
    """How much was ever written to the runner's stdout when it ended: there its output ends."""
    err: int
    cpu_user: float
    cpu_system: float
    io_read: int
    io_write: int
    max_rss: int
    rss: int
    """What the runner holds now."""
    ending: dict[str, Any]
    """`exit_code` and `result`, or `reason` and `error`."""


class Notice(NamedTuple):
    """The runner has not made this call, because it was taken back."""

    number: int


def void(number: int) -> bytes:
    """Write that a call was not made."""
    return json.dumps({"void": number}).encode()


def write(ending: dict[str, Any], *figures: Any) -> bytes:
    """Write how a call ended; figures in the order of `Answer`."""
    if ending.get("exit_code") == 0:
        return _FIGURES.pack(_RETURNED, *figures) + (ending.get("result") or "").encode()
    return _FIGURES.pack(_OTHERWISE, *figures) + json.dumps(ending).encode()


def read(data: bytes) -> Answer | Notice:
    """Read what a runner says."""
    if data[:1] == b"{":
        return Notice(json.loads(data)["void"])
    figures = _FIGURES.unpack_from(data)
    tail = data[_FIGURES.size :]
    ending = {"exit_code": 0, "result": tail.decode() or None} if figures[0] == _RETURNED else json.loads(tail)
    return Answer._make((*figures[1:], ending))
