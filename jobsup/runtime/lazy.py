"""Modules that are imported all the same and that our processes never use: loaded late, or not at all.

SQLAlchemy imports asyncio, with all of TLS behind it, and the readers of package metadata, with e-mail's parser and
ZIP's: three megabytes in a supervisor, and a part of them again in each of its children.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

SELDOM_USED = ("asyncio", "importlib.metadata", "ipaddress", "difflib", "bz2", "lzma")
"""`ipaddress` by who takes URLs apart; the last two by `shutil`, for archives; `difflib` by what finds the nearest name
of a misspelt one."""
NEVER_USED = ("greenlet",)
"""What SQLAlchemy runs on asyncio with; where it finds it, it uses asyncio at once."""
_OPENSSL = "_hashlib"
_OWN_HASHES = (
    "_md5",
    "_sha1",
    "_sha3",
    "_blake2",
    *(("_sha2",) if sys.version_info >= (3, 12) else ("_sha256", "_sha512")),
)
_loading = threading.RLock()


class _PutOff(ModuleType):
    """A module until something of it is asked for. (`LazyLoader`'s is loaded by the next `import` of its name.)"""

    def __getattr__(self, name: str) -> Any:
        with _loading:
            if type(self) is _PutOff and "_is_loading" not in vars(self):
                vars(self)["_is_loading"] = True
                _load(self)
        if name not in vars(self):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return vars(self)[name]


def _load(module: ModuleType) -> None:
    assert module.__spec__ is not None and module.__spec__.loader is not None  # noqa: S101, PT018  (see `put_off`)
    module.__spec__.loader.exec_module(module)
    del vars(module)["_is_loading"]
    module.__class__ = ModuleType


def leave_out_openssl() -> None:
    """Have hashes made by Python itself, where it can, instead of three megabytes of OpenSSL; before `hashlib`."""
    if not {"hashlib", _OPENSSL} & sys.modules.keys() and all(map(_is_there, _OWN_HASHES)):
        leave_out(_OPENSSL)


def let_openssl_in() -> None:
    """Have `hashlib` and `hmac` loaded with OpenSSL by who imports them from now on: scrypt is there alone."""
    if sys.modules.get(_OPENSSL, sys) is None:
        for name in (_OPENSSL, "hashlib", "hmac"):
            sys.modules.pop(name, None)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def spare() -> None:
    """Load late, or not at all, what libraries import and nothing of ours uses; before they are imported."""
    leave_out(*NEVER_USED)
    put_off(*SELDOM_USED)


def leave_out(*names: str) -> None:
    """Have these modules taken for not installed by who imports them if they are."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # the import system's own word for it


def put_off(*names: str) -> None:
    """Have these modules loaded when they are first used, whoever imports them; not those that are loaded."""
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = sys.modules[name] = _PutOff(name)
        module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin
        module.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        package, _, own = name.rpartition(".")
        if package:
            setattr(sys.modules[package], own, module)
