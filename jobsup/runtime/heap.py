"""The C library's heap, made ready to be shared: what forked children allocate goes to pages of their own.

Loading modules leaves the heap full of small holes. A child that fills them copies, for a few bytes, a page that all
others share: a megabyte in a thousand pages is four megabytes for each child. Once the holes are taken, and never
given back, whatever is allocated after the fork lies close together behind them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

_TOP_BYTES = 132 << 10
"""What the allocator keeps for itself at the end of its heap when it is asked to return all it can, and no hole."""
_LARGE_BYTES = 96 << 10
"""Less than what it maps apart from its heap; it puts all that was freed in order before it looks for so much."""
_SIZES = (*range(_LARGE_BYTES, 16 << 10, -8192), *range(16 << 10, 4096, -512), *range(4072, 24, -16))
"""From large to small, so that one block takes a hole; the small ones are all the sizes that are told apart."""


def seal() -> None:
    """Return what can be returned to the kernel and take all holes, for good: once in a process, before it forks.

    Does nothing where the allocator is not glibc's.
    """
    libc = _libc()
    if libc is None:
        return
    libc.free(libc.malloc(_LARGE_BYTES))
    libc.malloc_trim(0)
    start, end = _bounds()
    for size in _SIZES:
        block = libc.malloc(size)
        while start <= (block or 0) < end - _TOP_BYTES:
            block = libc.malloc(size)
        libc.free(block)  # the first that lies in no hole


def _libc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        return None
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    return libc


def _bounds() -> tuple[int, int]:
    """Return where the heap begins and ends; nothing lies between them when there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            start, end = line.split(maxsplit=1)[0].split("-")
            return int(start, 16), int(end, 16)
    return 0, 0
