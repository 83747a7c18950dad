"""Wake-ups on PostgreSQL: NOTIFY in the transaction that makes the news, LISTEN on the connection there is anyway.

An `Ear` is what a loop watches. It hears its channel between transactions, when the connection would be quiet, and is
told by the connection's owner what came in the middle of one; so a thread that waits for an answer and a loop that
waits for news never read from the same socket.

A notification without words is news for all of a kind. Work that waits is offered by name to as many idle workers as
can have it, and a few more: were all to come, a thousand would ask for one run.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from contextlib import suppress

from sqlalchemy import text

from jobsup.store.direct import Direct
from jobsup.store.news import kinds, offers
from jobsup.store.statements import Statement

# Kinds of work that are offered each to those who can take it; with more of them at once all workers are told.
OFFERS_MAX = 8
# Names of workers in one notification, which may have 8,000 bytes.
NAMES_MAX = 200
# With no more idle workers than this all of them are offered whatever there is.
FEW = 4
# Named beyond those that work is there for: one may be about to take something else, or have died unnoticed.
SPARE_OFFERS = 2
# Who has not been heard of for longer is offered nothing, long before it counts as lost.
SILENT_HEARTBEATS = 2
OFFERED = "+"
"""Before the names of those who are offered work; without a name all are."""


class Ear:
    """A descriptor that becomes readable when its channel, or the state of the connection, has news."""

    def __init__(self, channel: str, name: str = "") -> None:
        self.channel = channel
        self._name = name
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._watched: int | None = None
        self._has_news = self._has_offer = False
        self.is_offered = False
        """The last wake-ups that were taken were offers of work, and nothing else."""

    def fileno(self) -> int:
        return self._epoll.fileno()

    def attend(self, fd: int) -> None:
        """Begin to watch the connection's socket: nobody else reads from it now."""
        if self._watched is None and not self._epoll.closed:
            with suppress(OSError):
                self._epoll.register(fd, select.EPOLLIN)
                self._watched = fd

    def hush(self) -> None:
        """Leave the socket to a transaction."""
        if self._watched is not None:
            with suppress(OSError, ValueError):  # it was closed, which has ended the watch as well
                self._epoll.unregister(self._watched)
            self._watched = None

    def hear(self, channel: str, words: str) -> None:
        """Take a notification; an offer that names others is not for us."""
        if channel != self.channel:
            return
        names = words.removeprefix(OFFERED).split()
        if not words.startswith(OFFERED):
            self.ring()
        elif not names or self._name in names:
            self._has_offer = True
            self._ring()

    def ring(self) -> None:
        """Become readable for news; safe from any thread."""
        self._has_news = True
        self._ring()

    def _ring(self) -> None:
        with suppress(BlockingIOError, OSError):  # it rings already, or is closed
            os.eventfd_write(self._bell, 1)

    def drain(self) -> bool:
        """Stop ringing; say whether it rang."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return False
        self.is_offered = self._has_offer and not self._has_news
        self._has_news = self._has_offer = False
        return True

    def close(self) -> None:
        if not self._epoll.closed:
            self.hush()
            self._epoll.close()
            os.close(self._bell)


def channel(schema: str, kind: str) -> str:
    """Return what the listeners of a kind listen to: instances in other schemas hear nothing of it."""
    return f"{schema}.{kind}"


def announce(direct: Direct, schema: str, news: Mapping[str, int]) -> None:
    """Have the server tell at the commit: all listeners of each kind, and of an offer those it is for."""
    told, offered = kinds(news), offers(news)
    if len(offered) > OFFERS_MAX and "worker" not in told:
        told.append("worker")  # so many kinds of work are for everybody
    for kind in told:
        direct.say_last('NOTIFY "{}"'.format(channel(schema, kind).replace('"', '""')))
    if "worker" in told:
        return
    for offer, count in offered.items():
        given = {
            "channel": channel(schema, "worker"),
            "some": min(count + SPARE_OFFERS, NAMES_MAX),
            "queue": offer.queue,
            "target": offer.target,
            "requires": json.dumps(offer.requires.split()),
        }
        direct.run(_OFFER_WORK, given)


# Of the idle ones that can take it a few are named. When there are no more than are needed, so are those that are
# busy, which may have a slot; and when that is too long a list, or nobody seems to be there, all are told.
_OFFER_WORK = Statement(
    lambda _: text(
        f"""
WITH able AS (
  SELECT worker_id, status = 'IDLE' AS is_idle FROM worker_registration
  WHERE status IN ('IDLE', 'BUSY')
    AND last_heartbeat > clock_timestamp() - make_interval(secs => {SILENT_HEARTBEATS} * heartbeat_interval)
    AND (CAST(queues AS text) = '[]' OR CAST(queues AS jsonb) @> to_jsonb(CAST(:queue AS text)))
    AND (CAST(:target AS text) = '' OR node = CAST(:target AS text))
    AND CAST(tags AS jsonb) @> CAST(CAST(:requires AS text) AS jsonb)
), counted AS (
  SELECT count(*) AS able, count(*) FILTER (WHERE is_idle) > greatest({FEW}, CAST(:some AS integer)) AS is_crowd
  FROM able
), named AS (
  (SELECT worker_id FROM able WHERE is_idle AND (SELECT is_crowd FROM counted) ORDER BY random()
   LIMIT CAST(:some AS integer))
  UNION ALL
  (SELECT worker_id FROM able WHERE (SELECT NOT is_crowd AND able <= {NAMES_MAX} FROM counted))
)
SELECT pg_notify(:channel, '{OFFERED}' || coalesce((SELECT string_agg(worker_id, ' ') FROM named), ''))
"""  # noqa: S608  (our own words and numbers)
    )
)
