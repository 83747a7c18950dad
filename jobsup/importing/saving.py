"""Putting imported jobs beside the configuration: which file, which names are free, and whether it is read."""

from __future__ import annotations

import glob
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobsup.config.source import Source, read_source
from jobsup.errors import ConfigError, ConflictError, NotFoundError
from jobsup.importing.naming import valid

FOLDER = "jobs.d"
PATTERN = f"{FOLDER}/*.toml"
PRIVATE = 0o600
"""Crontabs and units may hold secrets in their variables."""


def target(wish: str, source: str, config: Path | None) -> Path:
    """Return the file to write: the one wished for, one in the folder wished for, or in jobs.d.

    NotFoundError when none is wished for and there is no configuration to put it beside.
    """
    name = f"{valid(source)}.toml"
    if wish:
        path = Path(wish)
        return path / name if path.is_dir() or wish.endswith("/") else path
    if config is None:
        raise NotFoundError("there is no configuration to put jobs beside: say --write FILE, or write one first")
    return config.parent / FOLDER / name


def taken_names(config: Path | None, target: Path | None) -> set[str]:
    """Return the names that the configuration has already, but for those in the file that is to be replaced."""
    if config is None:
        return set()
    own = None if target is None else target.resolve()
    return {
        table["name"]
        for source in _sources(config)
        if source.path.resolve() != own
        for table in _tables(source.data)
        if isinstance(table.get("name"), str)
    }


def save(text: str, path: Path, *, force: bool, config: Path | None) -> None:
    """Write the file, whole or not at all, readable to whom the configuration is; ConflictError when it exists."""
    if path.exists() and not force:
        raise ConflictError(f"{path} exists: --force replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = PRIVATE if config is None else stat.S_IMODE(config.stat().st_mode) & 0o644 | PRIVATE
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=path.parent, delete=False) as made:
        try:
            made.write(text)
            made.flush()
            os.fchmod(made.fileno(), mode)
            # Without force a link, which never replaces what somebody wrote meanwhile.
            if force:
                Path(made.name).replace(path)
            else:
                path.hardlink_to(made.name)
        except FileExistsError:
            raise ConflictError(f"{path} exists: --force replaces it") from None
        finally:
            Path(made.name).unlink(missing_ok=True)


def is_included(path: Path, config: Path) -> bool:
    """Say whether the configuration reads the file."""
    wanted = path.resolve()
    return wanted == config.resolve() or any(found.resolve() == wanted for found in _included(config))


def include_advice(path: Path, config: Path) -> str:
    """Say what to write into the configuration, so that it reads the file."""
    folder, main = path.resolve().parent, config.resolve().parent
    pattern = str(folder / "*.toml") if not folder.is_relative_to(main) else str(folder.relative_to(main) / "*.toml")
    return f'{config} does not read {path}: add include = ["{pattern}"] to it, above its first [table]'


def _sources(config: Path) -> Iterator[Source]:
    """Yield the files that can be read; what is wrong with the others, `jobsup check` says."""
    for path in (config, *_included(config)):
        try:
            yield read_source(path, str(path))
        except ConfigError:
            continue


def _included(config: Path) -> list[Path]:
    try:
        patterns: Any = tomllib.loads(config.read_text(encoding="utf-8-sig")).get("include", [])
    except (OSError, ValueError):
        return []
    if not isinstance(patterns, list):
        return []
    texts = [os.path.expanduser(each) for each in patterns if isinstance(each, str)]  # noqa: PTH111  # never raises
    return [config.parent / name for each in texts for name in sorted(glob.glob(each, root_dir=config.parent))]  # noqa: PTH207  # as the configuration reads them


def _tables(data: dict[str, Any]) -> list[dict[str, Any]]:
    jobs = data.get("job", [])
    return [table for table in jobs if isinstance(table, dict)] if isinstance(jobs, list) else []
