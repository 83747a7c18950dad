"""Tests in several processes that are forked when all tests have been collected: `pytest --processes 6`.

Each takes a file at a time, in the order of collection, and runs it with the fixtures of its own. To collect costs more
than most files: whoever starts each process anew pays it, and every import, as often as there are processes. A process
that dies costs the test it was at; another goes on with the rest of its file.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import pytest

OPTION = "--processes"
TOLD = 1
"""The descriptor that the results are printed to, and no test may print to."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, type=int, default=0, metavar="N", help="run the files of tests in so many processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    count: int = session.config.getoption(OPTION)
    if not count or session.testsfailed or session.config.option.collectonly:
        return None
    _Crew(session, count).run()
    return True


class _Crew:
    """The processes, what each is at, and the files that nobody has begun."""

    def __init__(self, session: pytest.Session, count: int) -> None:
        self._session = session
        self._count = count
        self._waiting: deque[range] = deque(_files(session.items))
        self._members: dict[Connection, _Member] = {}

    def run(self) -> None:
        """Have every file tested; raises what pytest raises when it shall stop before."""
        session = self._session
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one for all: each made its own
        try:
            for _ in range(min(self._count, len(self._waiting))):
                self._fork()
            while self._members and not (session.shouldfail or session.shouldstop):
                self._hear_whoever_speaks()
        finally:
            self._dismiss()
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _fork(self) -> None:
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            for connection in (ours, *self._members):
                connection.close()
            _serve(self._session, theirs)
        theirs.close()
        self._members[ours] = _Member(pid)

    def _hear_whoever_speaks(self) -> None:
        ready = wait([*self._members, *(member.end for member in self._members.values())])
        for connection, member in list(self._members.items()):
            if connection in ready:
                self._hear(connection, member)
            elif member.end in ready:  # and something that it has left behind holds its connection open
                self._bury(connection, member)

    def _hear(self, connection: Connection, member: _Member) -> None:
        try:
            word, given = connection.recv()
        except (EOFError, OSError):
            self._bury(connection, member)
            return
        hook = self._session.config.hook
        match word:
            case "more":
                file = self._waiting.popleft() if self._waiting else range(0)
                member.taken.extend(file)
                with suppress(OSError):  # it has died: that is heard next
                    connection.send(file)
            case "done":
                member.taken.popleft()
            case "report":
                hook.pytest_runtest_logreport(report=hook.pytest_report_from_serializable(config=None, data=given))
            case "warning":
                hook.pytest_warning_recorded.call_historic(kwargs=given)

    def _bury(self, connection: Connection, member: _Member) -> None:
        """Take leave of a process that has ended; what it had taken and not done goes to another."""
        connection.close()
        del self._members[connection]
        status = member.wait()
        if not member.taken:
            return
        item = self._session.items[member.taken.popleft()]
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        report = pytest.TestReport(
            item.nodeid, item.location, {}, "failed", f"the process of this test {how} in the midst of it", "call"
        )
        self._session.config.hook.pytest_runtest_logreport(report=report)
        if member.taken:
            self._waiting.extendleft(reversed(list(_runs(member.taken))))
            self._fork()

    def _dismiss(self) -> None:
        """Interrupt whoever is still at work, and wait until the fixtures are torn down."""
        for member in self._members.values():
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGINT)
        for connection, member in self._members.items():
            connection.close()
            member.wait()
        self._members.clear()


class _Member:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.end = os.pidfd_open(pid)
        self.taken: deque[int] = deque()
        """The tests of its files that it has not done; it is at the first."""

    def wait(self) -> int:
        os.close(self.end)
        return os.waitpid(self.pid, 0)[1]


def _files(items: list[pytest.Item]) -> Iterator[range]:
    """Divide the tests, of which each file's stand together, into the files."""
    begin = 0
    for _, group in itertools.groupby(items, lambda item: item.path):
        end = begin + sum(1 for _ in group)
        yield range(begin, end)
        begin = end


def _runs(indices: deque[int]) -> Iterator[range]:
    """Give numbers that rise back as ranges without a gap."""
    for _, group in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0]):
        numbers = [index for _, index in group]
        yield range(numbers[0], numbers[-1] + 1)


def _serve(session: pytest.Session, connection: Connection) -> None:
    """Be a process of the tests to its end."""
    code = 1
    try:
        _settle(session.config, connection)
        _test(session, connection)
        code = 0
    except (KeyboardInterrupt, OSError, EOFError, session.Failed):
        pass  # told to stop, or the one who collected is gone
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            session._setupstate.teardown_exact(None)
        os._exit(code)


def _settle(config: pytest.Config, connection: Connection) -> None:
    """Leave to the one who collected what is there once: the terminal, and the files in which pytest keeps what it has
    captured."""
    config.workerinput = {}  # type: ignore[attr-defined]  # the sign for plugins that others tell the results
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    capture = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()
    if capture.is_globally_capturing():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, TOLD)
        os.close(nowhere)
    capture.start_global_capturing()
    capture.suspend_global_capture()
    plugins.register(_Teller(config, connection))
    random.seed()


class _Teller:
    """Hands on what pytest says of a test."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._connection.send(("report", data))

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        given = {"warning_message": warning_message, "when": when, "nodeid": nodeid, "location": location}
        self._connection.send(("warning", given))


def _test(session: pytest.Session, connection: Connection) -> None:
    def more() -> deque[pytest.Item]:
        connection.send(("more", None))
        return deque(session.items[index] for index in connection.recv())

    left = more()
    while left:
        item = left.popleft()
        # What comes next says which fixtures end with this one.
        left = left or more()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=left[0] if left else None)
        connection.send(("done", None))
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
