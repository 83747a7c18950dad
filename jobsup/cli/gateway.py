"""The way to an instance: here, through its database and its supervisor's socket, or far away, through its portal.

A verb asks for an operation of `jobsup.actions.operations` and prints the document it gets; it does not know which of
the two answers.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from jobsup.errors import UsageError

if TYPE_CHECKING:
    from jobsup.actions.operations.base import Desk, Operation
    from jobsup.actions.output import Piece
    from jobsup.cli.here import Here
    from jobsup.store.engine import Database

FOLLOW_RECHECK_SECONDS = 0.25
"""Output may come without a wake-up."""


class Gateway(Protocol):
    """Asks one instance; a context manager."""

    is_remote: bool

    def __enter__(self) -> Gateway: ...

    def __exit__(self, *error: object) -> None: ...

    def ask(self, operation: Operation, **given: Any) -> dict[str, Any]:
        """Have an operation performed and return its document; raises what it raises."""
        ...

    def output(self, run_id: int, place: int = 0, *, follow: bool = False) -> Iterator[Piece]:
        """Yield what a run printed from a place on; with `follow`, all until it has ended."""
        ...

    def wait(self, run_id: int) -> None:
        """Return when a run has ended, without its output."""
        ...


class LocalGateway:
    """Does what is asked itself, with the database and the supervisor of a configuration."""

    is_remote = False

    def __init__(self, here: Here, on_line: Callable[[str], None] | None = None) -> None:
        self._here = here
        self._on_line = on_line
        self._open = ExitStack()
        self._database: Database | None = None

    def __enter__(self) -> LocalGateway:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def ask(self, operation: Operation, **given: Any) -> dict[str, Any]:
        from jobsup.actions.operations.base import perform

        return perform(self._desk(), operation, given)

    def output(self, run_id: int, place: int = 0, *, follow: bool = False) -> Iterator[Piece]:
        from jobsup.actions.output import OutputReader
        from jobsup.store.notifier import Listener

        reader = OutputReader(self._opened(), run_id, place)
        if not follow:
            yield from reader.read_all()
            return
        listener = Listener(self._opened(), "follower")
        try:
            while True:
                found = reader.read()
                yield from found
                if found:
                    continue
                if reader.has_ended:
                    return
                select.select([listener], [], [], FOLLOW_RECHECK_SECONDS)
                listener.drain()
        finally:
            listener.close()

    def wait(self, run_id: int) -> None:
        from jobsup.actions.runs import await_end

        await_end(self._opened(), run_id)

    def _opened(self) -> Database:
        if self._database is None:
            self._database = self._open.enter_context(self._here.database())
        return self._database

    def _desk(self) -> Desk:
        from jobsup.actions.operations.base import CLI, Desk
        from jobsup.actions.people import requester

        peek = self._here.peek()
        return Desk(
            self._opened,
            actor=requester(),
            by=requester(),
            origin=CLI,
            set_name=peek.set,
            config_path=peek.path,
            socket=self._here.socket(),
            config=self._here.config,
            on_line=self._on_line,
        )


def wait_to_the_end(
    gate: Gateway,
    run_id: int,
    *,
    place: int = 0,
    on_output: Callable[[Piece], None] | None = None,
    on_attempt: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Return the last attempt of a run when it has ended, whatever number of retries that takes.

    Output goes to `on_output` as it comes, from `place` on in that of the first attempt; `on_attempt` is told each
    attempt that has ended, and each that follows.
    """
    from jobsup.actions.operations.runs import SHOW_RUN

    tell = on_attempt or (lambda _run: None)
    while True:
        if on_output is None:
            gate.wait(run_id)
        else:
            for piece in gate.output(run_id, place, follow=True):
                on_output(piece)
        shown = gate.ask(SHOW_RUN, id=run_id)
        tell(shown["run"])
        later = [each for each in shown["attempts"] if each > run_id]
        if not later:
            return dict(shown["run"])
        run_id, place = later[0], 0
        tell(gate.ask(SHOW_RUN, id=run_id)["run"])


def of(here: Here, on_line: Callable[[str], None] | None = None) -> Gateway:
    """Return the way to the instance that a command means."""
    if here.url is None:
        return LocalGateway(here, on_line)
    from jobsup.cli.remote import RemoteGateway

    if not here.token:
        raise UsageError(f"{here.url} wants a token: set JOBSUP_TOKEN, or give --token")
    return RemoteGateway(here.url, here.token, on_line)
