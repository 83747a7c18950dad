"""Loading what a child will need of the database's libraries before it is forked, so that memory is shared."""

from __future__ import annotations

from jobsup.errors import UsageError
from jobsup.store.addresses import parse


def load_driver(url: str) -> None:
    """Import the dialect and the driver of a URL; opens no connection. UsageError when the driver is not installed."""
    try:
        address = parse(url)
        address.get_dialect().import_dbapi()
        if address.get_backend_name() == "postgresql":
            from jobsup.store import on_postgres  # noqa: F401  (for the loading)
    except ModuleNotFoundError as error:
        raise UsageError(f"the database URL needs the Python package {error.name!r}, which is not installed") from error
