"""What a run prints of how far it is: lines of JSON that are marked as meant for jobsup."""

from __future__ import annotations

import json

from jobsup.model import Progress

MARK = b'{"jobsup":'
LINE_BYTES_MAX = 4096
"""A longer line tells no progress: what is written in one piece is shorter."""
TEXT_CHARS_MAX = 200


class ProgressReader:
    """Looks through one stream of one run, as it comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""
        """The end of what was read, where a line for us has begun, or may have."""

    def read(self, data: bytes) -> Progress | None:
        """Return the last progress that this piece tells; None: it tells none."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = data.rfind(MARK)
        if at < 0:
            self._rest = _begun(data)
            return None
        end = data.find(b"\n", at)
        if end >= 0:
            self._rest = _begun(data[end:])
            return parse(data[at:end])
        if len(data) - at <= LINE_BYTES_MAX:
            self._rest = data[at:]
        before = data.rfind(MARK, 0, at)
        return None if before < 0 else parse(data[before:at].partition(b"\n")[0])


def parse(line: bytes) -> Progress | None:
    """Read one line that begins with the mark; None when it says nothing of progress."""
    try:
        said = json.loads(line[:LINE_BYTES_MAX])["jobsup"]
        fraction, text = said.get("progress"), said.get("text", "")
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | None) or not isinstance(text, str):
        return None
    if fraction is not None and not 0 <= fraction <= 1:
        return None
    return None if fraction is None and not text else Progress(fraction, text[:TEXT_CHARS_MAX])


def _begun(data: bytes) -> bytes:
    """Return the end of the data that may be the begin of a mark."""
    at = data.rfind(b"{", max(0, len(data) - len(MARK) + 1))
    return data[at:] if at >= 0 and MARK.startswith(data[at:]) else b""
