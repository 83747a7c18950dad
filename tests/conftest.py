"""Fixtures that every test may ask for."""

from __future__ import annotations

from tests.support.store import clock, db

__all__ = ["clock", "db"]
