"""Which version of the tables a database has, and bringing it to this one. Alembic is loaded only to change it."""

from __future__ import annotations

from sqlalchemy import Connection, MetaData, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from jobsup.errors import DatabaseError
from jobsup.store.dialect import one_at_a_time
from jobsup.store.engine import Database

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every version there has been, the oldest first."""

HEAD = REVISIONS[-1]
"""The version this program works with."""

VERSION_TABLE = "alembic_version"

# Rows of `PRAGMA quick_check` and of foreign keys that are shown: one page tells enough.
FAULTS_SHOWN_MAX = 20


def current(database: Database) -> str | None:
    """Return the version the database has; None when it has none of jobsup's tables yet."""
    with database.read() as connection:
        return _current(connection)


def head() -> str:
    """Return the version this program works with."""
    return HEAD


def ensure(database: Database, migrate: bool) -> None:
    """Make sure that the tables are of this version, upgrading them if `migrate`.

    Raises DatabaseError when they are newer, another program's, or older (or not there) and may not be changed.
    """
    found = current(database)
    if found == HEAD:
        return
    _refuse_foreign(database, found)
    if not migrate:
        state = "has no tables yet" if found is None else f"has tables of version {found}, this jobsup needs {HEAD}"
        raise DatabaseError(f"{_where(database)} {state}: run `jobsup db upgrade`")
    upgrade(database)


def upgrade(database: Database) -> None:
    """Bring the tables to this version in one transaction; whoever comes second finds it done.

    Raises DatabaseError for a database that is newer than this program, or another program's.
    """
    _refuse_foreign(database, current(database))
    from jobsup.store.migrations.run import upgrade_to

    with database.patiently(), database.write() as connection:
        if database.schema is not None:
            _make_room(connection, database.schema)
        upgrade_to(connection, HEAD)


def check(database: Database) -> list[str]:
    """Return what is wrong with the database, a sentence each: version, tables, columns, indexes, damage."""
    found = current(database)
    if found is None:
        return ["it has no tables yet: run `jobsup db upgrade`"]
    if found != HEAD:
        return [f"its tables are of version {found}, this jobsup needs {HEAD}"]
    ours = all_tables()
    with database.read() as connection:
        return [*_differences(connection, ours), *(_damage(connection) if database.is_sqlite else ())]


def _make_room(connection: Connection, name: str) -> None:
    """Make the schema if it is not there, when nobody else is about to; a step may take the time it needs."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    one_at_a_time(connection, "upgrade")
    if connection.execute(select(func.to_regnamespace(name))).scalar_one() is None:
        connection.execute(CreateSchema(name))


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608  (a constant)


def _refuse_foreign(database: Database, found: str | None) -> None:
    if found is None:
        ours = all_tables()  # before the transaction: to load them takes long enough for a server to end it
        with database.read() as connection:
            found = _current(connection)  # once more, in one state with the tables: another start may have made both
            taken = sorted(set(inspect(connection).get_table_names()) & set(ours.tables))
        if taken and found is None:
            raise DatabaseError(
                f"{_where(database)} has a table {taken[0]!r} that jobsup did not make: give jobsup one of its own"
            )
    elif found not in REVISIONS:
        raise DatabaseError(
            f"{_where(database)} has tables of version {found}, newer than this jobsup ({HEAD}): install the newer one"
        )


def all_tables() -> MetaData:
    """Return the tables of every part, also of those that this process has not loaded."""
    from jobsup.store.models import Base

    return Base.metadata


def _where(database: Database) -> str:
    return f"database {database.where}" + (f", schema {database.schema}" if database.schema else "")


def _differences(connection: Connection, ours: MetaData) -> list[str]:
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    faults = []
    for table in ours.sorted_tables:
        if table.name not in present:
            faults.append(f"table {table.name} is missing")
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        faults += [
            f"column {table.name}.{column.name} is missing" for column in table.columns if column.name not in columns
        ]
        indexes = _index_names(connection, table.name)
        faults += [
            f"index {name} is missing" for name in sorted({str(index.name) for index in table.indexes} - indexes)
        ]
    return faults


def _index_names(connection: Connection, table: str) -> set[str]:
    if connection.dialect.name == "sqlite":  # the inspector passes over indexes on expressions there
        statement = text("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table")
        return set(connection.execute(statement, {"table": table}).scalars())
    return {str(index["name"]) for index in inspect(connection).get_indexes(table)}


def _damage(connection: Connection) -> list[str]:
    try:
        found = connection.exec_driver_sql(f"PRAGMA quick_check({FAULTS_SHOWN_MAX})").scalars().all()
        strays = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(FAULTS_SHOWN_MAX)
    except DBAPIError as error:
        return [f"it cannot be read to its end: {error.orig}"]
    return [
        *(str(line) for line in found if line != "ok"),
        *(f"row {row[1]} of {row[0]} points to a row of {row[2]} that is gone" for row in strays),
    ]
