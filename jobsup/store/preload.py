"""Loading what a child will need of the database's libraries before it is forked, so that memory is shared."""

from __future__ import annotations

from sqlalchemy import make_url

from jobsup.errors import UsageError


def load_driver(url: str) -> None:
    """Import the dialect and the driver of a URL; opens no connection. UsageError when the driver is not installed."""
    try:
        make_url(url).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise UsageError(f"the database URL needs the Python package {error.name!r}, which is not installed") from error
