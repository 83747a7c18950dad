"""What columns hold, as each of the two databases is given it and gives it back: ids, instants, texts, outputs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, String, Text, TypeDecorator

from jobsup.store import packing

# SQLite numbers rows itself only in a column called INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant: timestamptz on PostgreSQL, sortable UTC text with microseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        return _to_text if dialect.name == "sqlite" else _to_utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:  # noqa: ARG002  (the signature is SQLAlchemy's)
        return _from_text if dialect.name == "sqlite" else _to_utc


def _to_utc(instant: datetime | None) -> datetime | None:
    if instant is None or instant.tzinfo is UTC:
        return instant
    if instant.tzinfo is None:
        raise ValueError(f"an instant needs a time zone, got {instant!r}")
    return instant.astimezone(UTC)


def _to_text(instant: datetime | None) -> str | None:
    # Several of each run are written and read: straight to the text, and not by way of SQLAlchemy's own type.
    utc = _to_utc(instant)
    return None if utc is None else utc.isoformat(" ", "microseconds")[:_TEXT_CHARS]


def _from_text(text: str | None) -> datetime | None:
    # With its offset in the text it takes an eighth of the time that a zone put in afterwards does.
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


_TEXT_CHARS = len("2026-01-01 00:00:00.000000")


class FreeText(TypeDecorator[str]):
    """What a person or a program wrote: cut to its column, without what PostgreSQL has no character for."""

    impl = Text
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.impl = Text() if length is None else String(length)  # type: ignore[assignment]  # as SQLAlchemy's own do
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002  (as above)
        if value is None:
            return None
        if "\0" in value or not value.isascii():
            value = value.replace("\0", _NO_CHARACTER).encode("utf-8", "replace").decode()
        return value if self.length is None or len(value) <= self.length else value[: self.length - 1] + "…"


class Output(TypeDecorator[bytes]):
    """What a run printed: bytes on this side, packed when they are many on the other."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002  (as above)
        if value is None or isinstance(value, packing.Packed) or not packing.is_packable(value):
            return value
        return packing.pack(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002  (as above)
        return None if value is None else packing.unpack(value)


_NO_CHARACTER = "\ufffd"
