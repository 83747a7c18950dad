"""Statements that are run all day: built once with Core, kept as text, with how each value of them travels.

SQLAlchemy walks a statement each time it is run, which costs more than the database does and makes every piece of it
private to a process that was forked. Here its text, and how each value travels, are worked out once for a dialect.
Where a statement is for many rows, a server gets them as arrays in one go, and SQLite as JSON: an UPDATE that is run
anew for each row makes ready each time to be undone alone. Only rows with bytes, and a few rows, go one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    BindParameter,
    ColumnElement,
    Dialect,
    Executable,
    Float,
    FromClause,
    LargeBinary,
    Text,
    TypeDecorator,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.types import TypeEngine

from jobsup.store.array_text import array_text

# So few rows are given to SQLite one by one.
FEW_ROWS = 8

Processor = Callable[[Any], Any]
Columns = dict[str, Sequence[Any]]
"""What many rows are given, by name."""


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
    rows = func.json_each(bindparam(ROWS, type_=Text())).table_valued("value")
    columns = [
        func.json_extract(rows.c.value, literal_column(f"'$[{place}]'"), type_=type_).label(name)
        for place, (name, type_) in enumerate(each.items())
    ]
    return select(*columns).subquery("given")


ROWS = "rows_as_json"


@dataclass(frozen=True, slots=True)
class Made:
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
        self._made: dict[str, tuple[Made, Made]] = {}

    def made(self, dialect: Dialect, rows: int = 0) -> Made:
        """Return it in a dialect's words, for so many rows."""
        for_many, for_few = self._made.get(dialect.name) or self._make(dialect)
        return for_few if 0 < rows <= FEW_ROWS else for_many

    def _make(self, dialect: Dialect) -> tuple[Made, Made]:
        for_many = for_few = _make(self._build, self._each, dialect, is_one_by_one=self._has_bytes)
        if self._few_alone and dialect.name == "sqlite":
            for_few = _make(self._build, self._each, dialect, is_one_by_one=True)
        self._made[dialect.name] = for_many, for_few
        return for_many, for_few


def _make(
    build: Callable[[Given], Executable], each: Mapping[str, TypeEngine[Any]], dialect: Dialect, *, is_one_by_one: bool
) -> Made:
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
    return Made(
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
        return lambda value: None if value is None else json.dumps(value)
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
