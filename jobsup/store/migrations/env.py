"""Run by Alembic for each command: the connection is the caller's, and so are its transaction and its lock."""

from __future__ import annotations

from alembic import context

from jobsup.store.models import Base

connection = context.config.attributes["connection"]
if connection is None:
    raise RuntimeError("migrations are run by `jobsup db upgrade`")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a column only by copying its table
    transactional_ddl=True,  # SQLite can, now that BEGIN is ours: a step is whole or not at all
)
with context.begin_transaction():
    context.run_migrations()
