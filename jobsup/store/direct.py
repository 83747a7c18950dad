"""Transactions on the driver itself: it is given a statement's text and values, and no more.

How a statement becomes text, and how each value travels, is in `statements`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

from jobsup.store.array_text import array_text
from jobsup.store.statements import ROWS, Columns, Made, Processor, Statement

BEGIN = "jobsup_begin"
"""The execution option by which a connection of Core's knows how its transaction begins; empty: it has begun."""

B = TypeVar("B")


class Held:
    """A driver's connection that its file keeps open, taken for one transaction without Core's pool.

    The pool alone costs each process that was forked a quarter of a megabyte. Core has this very connection as well.
    """

    def __init__(self, driver: Any, engine: Engine) -> None:
        self.dbapi_connection = driver
        self._engine = engine
        self._core: Connection | None = None

    @property
    def is_valid(self) -> bool:
        return not self.dbapi_connection.is_closed

    def core(self) -> Connection:
        """Return a connection of Core's in the same transaction."""
        self._core = self._engine.connect()
        return self._core

    def invalidate(self, _error: Exception | None = None) -> None:
        self.dbapi_connection.close()

    def close(self) -> None:
        """Give it back; what is not committed is undone."""
        if self._core is not None:
            self._core.close()
        if self.is_valid and self.dbapi_connection.in_transaction:
            self.dbapi_connection.rollback()


class Direct:
    """An open transaction on the driver; `core` is the same transaction for statements that are seldom needed."""

    def __init__(
        self, engine: Engine, connection: PoolProxiedConnection | Held, core: Connection | None = None
    ) -> None:
        self.connection = connection
        self.dialect = engine.dialect
        self.is_server = engine.dialect.name != "sqlite"
        self._engine = engine
        self._core = core
        self._driver: Any = connection.dbapi_connection
        self._last_words: list[str] = []

    @classmethod
    def of(cls, connection: Connection) -> Direct:
        """Go on in a transaction of Core's."""
        return cls(connection.engine, connection.connection, connection)

    @property
    def core(self) -> Connection:
        if self._core is None:
            held = self.connection
            self._core = held.core() if isinstance(held, Held) else Connection(self._engine, held)
            self._core.execution_options(**{BEGIN: ""})
            self._core.begin()
        return self._core

    def say(self, text: str, values: Any = ()) -> Any:
        """Send a few words as they are; returns the driver's cursor."""
        return self._execute(text, values)

    def say_last(self, words: str) -> None:
        """Send a few words on a server together with the commit, or at once where that is Core's."""
        if self._core is None:
            self._last_words.append(words)
        else:
            self.say(words)

    def commit(self) -> None:
        """End the transaction; what is not committed is rolled back when the connection is given back."""
        transaction = None if self._core is None else self._core.get_transaction()
        for words in self._last_words if transaction is not None else ():
            self.say(words)
        if transaction is not None:
            transaction.commit()
            return
        try:
            if self._last_words:
                self._driver.execute("; ".join((*self._last_words, "COMMIT")), prepare=False)
            else:
                self._driver.commit()
        except self.dialect.loaded_dbapi.Error as error:
            raise self.explained(error) from error

    def fetch(self, statement: Statement, given: Mapping[str, Any]) -> list[Any]:
        """Run a query, or a change that returns rows; returns them as tuples."""
        made = statement.made(self.dialect)
        return _converted(self._execute(made.text, _values(made, given)).fetchall(), made.results)

    def run(self, statement: Statement, given: Mapping[str, Any]) -> int:
        """Run a change; returns how many rows it met."""
        made = statement.made(self.dialect)
        return int(self._execute(made.text, _values(made, given)).rowcount)

    def run_many(self, statement: Statement, rows: Sequence[Sequence[Any]], **given: Any) -> None:
        """Run a change for many rows, one at least, with what is the same for all of them.

        Each row has its values in the order of the statement's `each`.
        """
        self.run_columns(statement, self.columns(statement, rows), **given)

    def fetch_many(self, statement: Statement, rows: Sequence[Sequence[Any]], **given: Any) -> list[Any]:
        """Run as `run_many` does what returns rows; returns them as tuples."""
        return self.fetch_columns(statement, self.columns(statement, rows), **given)

    def columns(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> Columns:
        """Turn what is given for many rows into what the driver is given, by the names of the statement's `each`.

        Where rows have fewer values than that, the others are to be added as they are.
        """
        named = zip(statement.made(self.dialect).each, zip(*rows, strict=True), strict=False)
        return {name: _column(values, processor) for (name, processor), values in named}

    def run_columns(self, statement: Statement, columns: Columns, **given: Any) -> None:
        """Run as `run_many` does what `columns` made ready for this statement, or for one that is given more."""
        made = statement.made(self.dialect, _length(columns))
        if self.is_server or not made.is_one_by_one:
            self._execute(made.text, self._together(made, columns, given))
        else:
            self._execute(made.text, _apart(made, columns, given), is_many=True)

    def fetch_columns(self, statement: Statement, columns: Columns, **given: Any) -> list[Any]:
        """Run as `fetch_many` does what `columns` made ready."""
        made = statement.made(self.dialect, _length(columns))
        answered: list[Any] = []
        if self.is_server or not made.is_one_by_one:
            answered = self._execute(made.text, self._together(made, columns, given)).fetchall()
        else:
            for values in _apart(made, columns, given):
                answered += self._execute(made.text, values).fetchall()
        return _converted(answered, made.results)

    def _together(self, made: Made, columns: Columns, given: Mapping[str, Any]) -> Any:
        """Put many rows into one set of values: as arrays, or as JSON."""
        if self.is_server:
            return {**_values(made, given), **{name: array_text(columns[name]) for name, _ in made.each}}
        rows = list(zip(*(columns[name] for name, _ in made.each), strict=True))
        return _values(made, {**given, ROWS: json.dumps(rows)})

    def _execute(self, text: str, values: Any, *, is_many: bool = False) -> Any:
        for listener in self._engine.dispatch.before_cursor_execute:
            listener(self, None, text, values, None, is_many)  # who counts statements, or explains them
        try:
            return self._driver.executemany(text, values) if is_many else self._driver.execute(text, values)
        except self.dialect.loaded_dbapi.Error as error:
            raise self.explained(error) from error

    def explained(self, error: Exception) -> DBAPIError:
        """Return a driver's error as Core would raise it; what is not there any more is given up."""
        is_gone = bool(self.dialect.is_disconnect(error, self._driver, None))  # type: ignore[arg-type]  # a driver's own
        if is_gone and self.connection.is_valid:
            self.connection.invalidate(error)
        return _as_of_core(self.dialect, error, is_gone=is_gone)


def borrow(engine: Engine, take: Callable[[], B]) -> B:
    """Take the driver's connection; when none can be opened, the error is Core's as well."""
    try:
        return take()
    except engine.dialect.loaded_dbapi.Error as error:
        raise _as_of_core(engine.dialect, error, is_gone=False) from error


def _as_of_core(dialect: Dialect, error: Exception, *, is_gone: bool) -> DBAPIError:
    return DBAPIError.instance(  # type: ignore[return-value]  # for an error of the driver it is one of these
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,  # what a job prints, and its environment, belong into no error text
        connection_invalidated=is_gone,
        dialect=dialect,
    )


def _values(made: Made, given: Mapping[str, Any]) -> Any:
    """Put the values together as the driver takes them: by place, or by name."""
    values = _processed(made, given)
    return tuple([values[name] for name in made.names]) if made.names else values


def _processed(made: Made, given: Mapping[str, Any]) -> dict[str, Any]:
    values = {**made.constants, **given}
    for name, processor in made.binds:
        values[name] = processor(values[name])
    return values


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _apart(made: Made, columns: Columns, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return what SQLite is given for each row, by place."""
    same = _processed(made, given)
    return list(zip(*[columns.get(name) or repeat(same[name]) for name in made.names], strict=False))


def _column(values: Sequence[Any], processor: Processor | None) -> Sequence[Any]:
    """Process what many rows have of one name; what is the same for all of them costs next to nothing."""
    if processor is None:
        return values
    if values.count(values[0]) == len(values):
        return [processor(values[0])] * len(values)
    return [processor(value) for value in values]


def _converted(rows: list[Any], processors: tuple[tuple[int, Processor], ...]) -> list[Any]:
    for place, processor in processors:
        if any([row[place] is not None for row in rows]):  # noqa: C419  (a list is quicker)
            rows = [
                row if row[place] is None else (*row[:place], processor(row[place]), *row[place + 1 :]) for row in rows
            ]
    return rows
