"""Wake-ups between processes that share a database: a hint that rows have changed, with polling always behind it.

How they travel is in `wake_sockets` for SQLite and in `wake_channels` for PostgreSQL.
"""

from __future__ import annotations

from jobsup.store import wake_channels, wake_sockets
from jobsup.store.engine import Database
from jobsup.store.news import Offer

KINDS = ("worker", "scheduler", "follower")
"""Who can be woken: workers when work waits, schedulers when jobs changed, followers of runs and output."""


def wake(database: Database, kind: str, count: int = 1) -> None:
    """Tell the listeners of `kind` that there is news: when the transaction that is open commits, else at once.

    A `count` of 0 tells nobody. More than `count` of them may be told: only a listener itself knows whether it has
    a slot free. That a wake-up did not arrive is never an error, because whoever waits also polls.
    """
    if count < 1 or database.tell(_checked(kind), count):
        return
    if database.path is not None:
        wake_sockets.wake(database.path, kind)
        return
    with database.write():
        database.tell(kind, count)


def offer(database: Database, what: Offer, count: int = 1) -> None:
    """Tell workers that `count` runs can be claimed now, and no more of them than are needed for that.

    What waits for a later instant, or asks something of the workers that run already, is news for all: `wake` them.
    """
    if count < 1 or database.tell(what.key, count):
        return
    if database.path is not None:
        wake_sockets.offer_each(database.path, {what: count})
        return
    with database.write():
        database.tell(what.key, count)


class Listener:
    """A descriptor that becomes readable when somebody wakes this kind; made and closed by one process."""

    def __init__(self, database: Database, kind: str, name: str = "", *, is_choosy: bool = False) -> None:
        """Begin to listen; `name` is what a wake-up for some of a kind calls this one: a worker's id.

        `is_choosy`: it cannot take just any work, and wants to hear of all there is.
        """
        self._database = database
        self._ear: wake_sockets.Ear | wake_channels.Ear
        if database.path is not None:
            self._ear = wake_sockets.Ear(database.path, _checked(kind), is_choosy=is_choosy)
        else:
            self._ear = wake_channels.Ear(wake_channels.channel(database.schema or "", _checked(kind)), name)
            database.backend.add_ear(self._ear)

    def fileno(self) -> int:
        """Return the descriptor to watch for reading."""
        return self._ear.fileno()

    def drain(self) -> bool:
        """Take all wake-ups that are waiting; say whether there were any. Never blocks."""
        if isinstance(self._ear, wake_channels.Ear):
            self._database.backend.collect()
        return self._ear.drain()

    def decline(self) -> bool:
        """Pass an offer that cannot be taken on to another, and show that we are full; False: there was none.

        A server has made it to several, and only to such as were idle: it is not passed on there.
        """
        if isinstance(self._ear, wake_channels.Ear):
            return self._ear.is_offered
        if not isinstance(self._ear, wake_sockets.Ear) or not self._ear.is_offered or self._database.path is None:
            return False
        self._ear.show_full(True)
        wake_sockets.offer(self._database.path, "worker", 1, spare=0)
        return True

    def welcome(self) -> None:
        """Show that there is a slot for an offer."""
        if isinstance(self._ear, wake_sockets.Ear):
            self._ear.show_full(False)

    def close(self) -> None:
        """Stop listening; safe to call twice, and in a forked copy it leaves the owner's socket in place."""
        if isinstance(self._ear, wake_channels.Ear):
            self._database.backend.remove_ear(self._ear)
        self._ear.close()


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no kind of listener is called {kind!r}: one of {', '.join(KINDS)}")
    return kind
