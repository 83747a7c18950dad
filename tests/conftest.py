"""Fixtures that every test may ask for."""

from __future__ import annotations

from hypothesis import settings

from tests.support.store import clock, db

settings.register_profile("suite", max_examples=50, deadline=None)
settings.load_profile("suite")

__all__ = ["clock", "db"]
