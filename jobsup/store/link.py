"""A connection to PostgreSQL that is never waited on for ever.

A frozen server keeps its sockets open and its kernel goes on answering for it, so no setting of TCP finds it out.
Every wait for it therefore has a deadline of our own, after which the connection is closed.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.waiting import Ready

# So often a wait that lasts tells whoever must know that it is no hang.
SIGN_SECONDS = 1.0

# What has come is read in pieces of 16 KiB; what is more than this comes at the next look.
READS_MAX = 64

_POLLED = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}


class Link(psycopg.Connection[Any]):
    """A connection; `patience` is how many seconds it waits for a sign of life.

    `waits` is called while it does, about once a second, by the thread that waits.
    """

    patience = 10.0
    waits: Callable[[], None] = staticmethod(lambda: None)

    @property
    def is_closed(self) -> bool:
        return self.closed

    @property
    def in_transaction(self) -> bool:
        return self.pgconn.transaction_status != TransactionStatus.IDLE

    def wait(self, gen: PQGen[Any], *_: Any, **__: Any) -> Any:
        """Drive one exchange to its end; a server that is silent for `patience` is given up with OperationalError."""
        poll = select.poll()
        try:
            wanted = next(gen)
            while True:
                poll.register(self.pgconn.socket, _POLLED[int(wanted)])
                ready = self._poll(poll)
                if not ready:
                    self.pgconn.finish()  # what it may answer some day would be taken for the answer to the next
                    raise psycopg.OperationalError(f"no answer for {self.patience:g} s")
                wanted = gen.send(_ready(ready[0][1]))
        except StopIteration as end:
            return end.value
        except (KeyboardInterrupt, SystemExit):
            self.pgconn.finish()
            raise

    def _poll(self, poll: select.poll) -> list[tuple[int, int]]:
        """Wait for as long as patience lasts; empty: nothing has come."""
        give_up_at = time.monotonic() + self.patience
        while (left := give_up_at - time.monotonic()) > 0:
            if ready := poll.poll(min(left, SIGN_SECONDS) * 1000):
                return ready
            self.waits()
        return []

    def hear(self, told: Callable[[str, str], None]) -> bool:
        """Hand over the notifications that have come, without waiting; False: the connection is lost, and closed."""
        try:
            if self.pgconn.status == ConnStatus.OK:
                for _ in range(READS_MAX):  # the last words of a server that goes come before its end of the line
                    if not select.select([self.pgconn.socket], [], [], 0)[0]:
                        break
                    self.pgconn.consume_input()
                while note := self.pgconn.notifies():
                    told(note.relname.decode(), note.extra.decode())
        except (psycopg.Error, OSError, ValueError):
            self.pgconn.finish()
        if self.pgconn.status != ConnStatus.OK:
            self.pgconn.finish()
            return False
        return True


def _ready(events: int) -> Ready:
    """Translate what was found; an error or a hang-up is to be read, so that the driver sees it."""
    readable = events & ~select.POLLOUT
    return Ready((Ready.R if readable else 0) | (Ready.W if events & select.POLLOUT else 0))
