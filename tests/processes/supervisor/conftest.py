"""A toy supervisor for each test that asks for one; whatever a test does to it, nothing is left behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.toy import Toy

MakeToy = Callable[..., Toy]


@pytest.fixture
def make_toy() -> Iterator[MakeToy]:
    """Make a toy whose plan is given as keyword arguments, `worker={"count": 2}`; none is a scheduler and a worker."""
    toys: list[Toy] = []

    def make(**plan: dict[str, Any]) -> Toy:
        # Not pytest's own folder: its names are too long for a socket's path.
        folder = Path(tempfile.mkdtemp(prefix="toy-"))
        toy = Toy(folder, plan or {"scheduler": {}, "worker": {}})
        toys.append(toy)
        return toy

    yield make
    for toy in toys:
        toy.clean_up()
        shutil.rmtree(toy.folder)
