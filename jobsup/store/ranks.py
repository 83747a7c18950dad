"""In which order waiting runs are claimed, so that no priority waits for ever; and what a pool is called.

A run's priority is worth a head start: `priority * priority_aging` of waiting. Whoever has waited longest, head start
included, is first; so a waiting run gains one priority each `priority_aging` on all that come after it. The order of
two runs never changes while they wait, which is why it can stand in a column, and an index on that column is the order.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

PRIORITY_AGING = timedelta(minutes=5)
"""The default of `[scheduler] priority_aging`."""
NEVER_AGING_MS = 3_000_000_000_000
"""About a century: what one priority is worth when runs do not age; a million of them still are a BIGINT."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def aging_ms(priority_aging: timedelta | None) -> int:
    """Return what one priority is worth, in milliseconds of waiting; None means that runs do not age."""
    return NEVER_AGING_MS if priority_aging is None else min(priority_aging // _MILLISECOND, NEVER_AGING_MS)


def rank(available_at: datetime, head_start_ms: int) -> int:
    """Return where a run stands among those that wait: the lower the earlier."""
    return (available_at - _EPOCH) // _MILLISECOND - head_start_ms


def moved_rank(before: int, was_available_at: datetime, available_at: datetime) -> int:
    """Return the rank of a run that takes another's place at a later time, with the same head start."""
    return before + (available_at - was_available_at) // _MILLISECOND


def pool_key(set_name: str, pool: str | None) -> str | None:
    """Return what the database calls a definition set's pool."""
    return None if pool is None else f"{set_name}/{pool}"
