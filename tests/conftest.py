"""Fixtures that every test may ask for."""

from __future__ import annotations

import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

from tests.support import shared
from tests.support.store import clock, db

# An installed jobsup has its bytecode; where none may be kept every process of a test compiles all of it again, which
# is half of what the suite would take.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell starts what runs in its background with SIGINT ignored, and whatever that starts is deaf to it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("suite", max_examples=30, deadline=None)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(shared.open_folder())


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage the million objects that stay: modules, and what was collected here."""
    gc.freeze()


__all__ = ["clock", "db"]
