"""Modules that a library imports and our processes never use: they are loaded when something of them is asked for.

SQLAlchemy imports asyncio, with all of TLS behind it, and the readers of package metadata, with e-mail's parser and
ZIP's: two megabytes in a supervisor, and a part of them again in each of its children.
"""

from __future__ import annotations

import importlib.util
import sys

SELDOM_USED = ("asyncio", "importlib.metadata")


def put_off(*names: str) -> None:
    """Have these modules loaded when they are first used, whoever imports them; not those that are loaded."""
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)  # the lazy loader's, which only gets ready
        package, _, own = name.rpartition(".")
        if package:
            setattr(sys.modules[package], own, module)
