"""A configuration folder for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.config_folder import Folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    place = tmp_path / "etc"
    place.mkdir(mode=0o755)
    monkeypatch.chdir(place)
    return Folder(place)
