"""Statements that are run all day, on the driver itself: built once with Core, kept as text, given values and no more.

SQLAlchemy walks a statement each time it is run, which costs more than the database does and makes every piece of it
private to a process that was forked. Here its text, and how each value travels, are worked out once for a dialect.
Where a statement is for many rows, a server gets them as arrays in one go, and SQLite as JSON: an UPDATE that is run
anew for each row makes ready each time to be undone alone, and takes twice as long. Only rows with bytes go one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Executable,
    Float,
    FromClause,
    LargeBinary,
    PoolProxiedConnection,
    Text,
    TypeDecorator,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from jobsup.store.array_text import array_text

# So few rows are given to SQLite one by one.
FEW_ROWS = 8
BEGIN = "jobsup_begin"
"""The execution option by which a connection of Core's knows how its transaction begins; empty: it has begun."""

Processor = Callable[[Any], Any]
Columns = dict[str, Sequence[Any]]
"""What many rows are given, by name."""
B = TypeVar("B")


class Given:
    """What a statement is given each time, in the words of one kind of database."""

    def __init__(self, each: Mapping[str, TypeEngine[Any]], *, is_server: bool, is_one_by_one: bool = False) -> None:
        self.is_server = is_server
        self._each = each
        self._rows: Any = None
        if each and is_server:
            self._rows = _unnested(each)
        elif each and not is_one_by_one:
            self._rows = _listed(each)

    @property
    def rows(self) -> FromClause:
        """What each of many rows has, as a table; not where they come one by one."""
        return self._rows  # type: ignore[no-any-return]  # it is one then

    def one(self, name: str, type_: TypeEngine[Any]) -> ColumnElement[Any]:
        """Return one value."""
        return bindparam(name, type_=type_)

    def among(self, of: Any, name: str, type_: TypeEngine[Any] | None = None) -> ColumnElement[bool]:
        """Say that a column has one of the values of a list, however long that is."""
        if self.is_server:
            found: ColumnElement[bool] = of == any_(bindparam(name, type_=ARRAY(type_ or BigInteger())))
            return found
        values = func.json_each(bindparam(name, type_=JSON())).table_valued("value")
        return of.in_(select(values.c.value))  # type: ignore[no-any-return]  # of is a column

    def each(self, name: str) -> ColumnElement[Any]:
        """Return what each of many rows has its own of: a column of all of them, unless they come one by one."""
        if self._rows is None:
            return bindparam(name, type_=self._each[name])
        found: ColumnElement[Any] = self._rows.c[name]
        return found


def _unnested(each: Mapping[str, TypeEngine[Any]]) -> Any:
    arrays = [bindparam(name, type_=ARRAY(type_)) for name, type_ in each.items()]
    rows = func.unnest(*arrays).table_valued(*(column(name, type_) for name, type_ in each.items()))
    return rows.render_derived(name="given")


def _listed(each: Mapping[str, TypeEngine[Any]]) -> Any:
    rows = func.json_each(bindparam(_ROWS, type_=Text())).table_valued("value")
    columns = [
        func.json_extract(rows.c.value, literal_column(f"'$[{place}]'"), type_=type_).label(name)
        for place, (name, type_) in enumerate(each.items())
    ]
    return select(*columns).subquery("given")


_ROWS = "rows_as_json"


@dataclass(frozen=True, slots=True)
class _Made:
    """A statement in the words of one dialect."""

    text: str
    constants: dict[str, Any]
    names: tuple[str, ...]
    """What is given by place; empty where it is given by name."""
    binds: tuple[tuple[str, Processor], ...]
    results: tuple[tuple[int, Processor], ...]
    each: tuple[tuple[str, Processor | None], ...]
    """What each of many rows has its own of."""
    is_one_by_one: bool
    """The rows are given one after the other, by place."""


class Statement:
    """A statement that its module keeps; `each` names what is given for each of many rows.

    `has_bytes`: some of that is bytes, for which there is no place in JSON. `few_alone`: SQLite is given a few rows one
    by one as well, for to unfold JSON takes as long as some rows do.
    """

    def __init__(
        self,
        build: Callable[[Given], Executable],
        *,
        each: Mapping[str, TypeEngine[Any]] | None = None,
        has_bytes: bool = False,
        few_alone: bool = False,
    ) -> None:
        self._build = build
        self._has_bytes = has_bytes
        self._few_alone = few_alone
        self._each = each or {}
        self._made: dict[str, tuple[_Made, _Made]] = {}

    def made(self, dialect: Dialect, rows: int = 0) -> _Made:
        """Return it in a dialect's words, for so many rows."""
        for_many, for_few = self._made.get(dialect.name) or self._make(dialect)
        return for_few if 0 < rows <= FEW_ROWS else for_many

    def _make(self, dialect: Dialect) -> tuple[_Made, _Made]:
        for_many = for_few = _make(self._build, self._each, dialect, is_one_by_one=self._has_bytes)
        if self._few_alone and dialect.name == "sqlite":
            for_few = _make(self._build, self._each, dialect, is_one_by_one=True)
        self._made[dialect.name] = for_many, for_few
        return for_many, for_few


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

    def _together(self, made: _Made, columns: Columns, given: Mapping[str, Any]) -> Any:
        """Put many rows into one set of values: as arrays, or as JSON."""
        if self.is_server:
            return {**_values(made, given), **{name: array_text(columns[name]) for name, _ in made.each}}
        rows = list(zip(*(columns[name] for name, _ in made.each), strict=True))
        return _values(made, {**given, _ROWS: json.dumps(rows)})

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


def _make(
    build: Callable[[Given], Executable], each: Mapping[str, TypeEngine[Any]], dialect: Dialect, *, is_one_by_one: bool
) -> _Made:
    given = Given(each, is_server=dialect.name != "sqlite", is_one_by_one=is_one_by_one)
    compiled: Any = _compiled(build(given), dialect)
    processors: dict[str, Processor] = {}
    constants: dict[str, Any] = {}
    for bind, name in compiled.bind_names.items():
        processor = None if name in each else _bind(bind.type, dialect)
        if not bind.required:
            constants[name] = bind.value if processor is None else processor(bind.value)
        elif processor is not None:
            processors[name] = processor
    results = enumerate(_result(each.type, dialect) for each in compiled._result_columns)
    return _Made(
        text=str(compiled),
        constants=constants,
        names=tuple(compiled.positiontup or ()),
        binds=tuple(processors.items()),
        results=tuple((place, processor) for place, processor in results if processor is not None),
        each=tuple((name, _bind_each(type_, dialect)) for name, type_ in each.items()),
        is_one_by_one=is_one_by_one,
    )


class _Spelled:
    """Makes a compiler put what is always the same into the words themselves.

    SQLite plans a statement anew each time that a value of it might say that a partial index serves; that takes longer
    than the statement.
    """

    def visit_bindparam(self, bindparam: BindParameter[Any], literal_binds: bool = False, **more: Any) -> str:
        is_same = not bindparam.required and isinstance(bindparam.value, (str, int))
        words: str = super().visit_bindparam(bindparam, literal_binds=literal_binds or is_same, **more)  # type: ignore[misc]  # a compiler's
        return words


def _compiled(statement: Any, dialect: Dialect) -> Any:
    own = dialect.statement_compiler
    compiler: Any = _compilers.setdefault(dialect.name, type("Compiler", (_Spelled, own), {}))
    return compiler(dialect, statement)


_compilers: dict[str, type] = {}


def _bind_each(type_: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return how a value of one of many rows is made ready: on a server without what its driver wraps it in."""
    if dialect.name == "sqlite":
        return _bind(type_, dialect)
    if isinstance(type_, JSON):
        return json.dumps
    if isinstance(type_, TypeDecorator) and isinstance(type_.impl_instance, LargeBinary):
        return lambda value: type_.process_bind_param(value, dialect)
    return _bind(type_, dialect)


def _bind(type_: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    if isinstance(type_, ARRAY):
        return array_text
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _result(type_: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    if isinstance(type_, Float):
        return None  # both drivers return floats; asked without a column at hand, SQLAlchemy cannot tell
    return type_.dialect_impl(dialect).result_processor(dialect, None)


def _values(made: _Made, given: Mapping[str, Any]) -> Any:
    """Put the values together as the driver takes them: by place, or by name."""
    values = _processed(made, given)
    return tuple([values[name] for name in made.names]) if made.names else values


def _processed(made: _Made, given: Mapping[str, Any]) -> dict[str, Any]:
    values = {**made.constants, **given}
    for name, processor in made.binds:
        values[name] = processor(values[name])
    return values


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _apart(made: _Made, columns: Columns, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
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
