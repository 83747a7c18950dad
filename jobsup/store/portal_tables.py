"""The portal's tables in the words of SQLAlchemy's Core; `models` says what columns mean, `portal_rows` names them."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, String, Table

from jobsup.store.column_types import Id, UtcDateTime
from jobsup.store.tables import metadata

portal_user = Table(
    "portal_user",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), unique=True, nullable=False),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("updated_at", UtcDateTime(), nullable=False),
    Column("last_login_at", UtcDateTime()),
)

portal_session = Table(
    "portal_session",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey("portal_user.id", ondelete="CASCADE"), index=True, nullable=False),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("expires_at", UtcDateTime(), nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(255), nullable=False),
)

portal_setup = Table(
    "portal_setup",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("created_at", UtcDateTime(), nullable=False),
)

portal_token = Table(
    "portal_token",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), unique=True, nullable=False),
    Column("token_hash", String(64), unique=True, nullable=False),
    Column("scopes", JSON(), nullable=False),
    Column("job", String(64)),
    Column("created_at", UtcDateTime(), nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("expires_at", UtcDateTime()),
    Column("last_used_at", UtcDateTime()),
)

portal_request = Table(
    "portal_request",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("dispatch_id", Id),
    Column("created_at", UtcDateTime(), index=True, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", UtcDateTime(), index=True, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("address", String(64), nullable=False),
    Column("verb", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", JSON(none_as_null=True), nullable=False),
    Index("ix_audit_subject", "subject", "id"),
)
