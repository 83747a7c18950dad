"""Alembic told where the steps are and on which connection to run them; no ini file is needed."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def settings(connection: Connection | None = None) -> Config:
    """Return Alembic's settings for these steps."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade_to(connection: Connection, revision: str) -> None:
    """Run the steps that are missing up to `revision`, inside the caller's transaction."""
    command.upgrade(settings(connection), revision)
