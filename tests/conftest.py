"""Fixtures that every test may ask for."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import command, parallel, shared, warm
from tests.support.parallel import pytest_addoption, pytest_runtestloop
from tests.support.store import clock, db

# An installed jobsup has its bytecode; where none may be kept every process of a test compiles all of it again, which
# is half of what the suite would take.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell starts what runs in its background with SIGINT ignored, and whatever that starts is deaf to it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nearly all that is made until the tests begin stays.
gc.disable()

TESTS = Path(__file__).parent

settings.register_profile("suite", max_examples=30, deadline=None)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(shared.open_folder())


LONGEST_FIRST = ("processes", "systemd", "cli", "portal", "packaging", "store")
"""The folders whose tests wait for whole instances, before those that are over in no time: none is begun last."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption(parallel.OPTION):
        command.load()  # before hypothesis looks for constants in what is loaded: else each process does
        warm.launch()
    rank = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(TESTS).parts[0], len(rank)))


def pytest_collection_finish() -> None:
    """Spare every later collection of garbage the million objects that stay: modules, and what was collected here."""
    gc.enable()
    gc.freeze()


__all__ = ["clock", "db", "pytest_addoption", "pytest_runtestloop"]
