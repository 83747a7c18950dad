"""The process's heap, made ready to be shared: what forked children allocate goes to pages of their own.

Loading modules leaves both heaps, the C library's and Python's own for small objects, full of holes. A child that
fills them copies, for a few bytes, a page that all others share: a megabyte in a thousand pages is four megabytes for
each child. Once the holes are taken, and never given back, what is allocated after the fork lies close together.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

_LARGE_BYTES = 96 << 10
"""Less than what it maps apart from its heap; it puts all that was freed in order before it looks for so much."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_MAPPED_BYTES = 128 << 10
"""Blocks of this size are mapped apart, and so given back when they are freed: the default, until one was freed."""
_SMALL_BYTES = range(16, 512 + 1, 16)
_POOL_BYTES = 16 << 10
"""What Python's own allocator gives small objects from: a pool has places of one size."""
_IN_ORDER = 128
"""So many places that follow each other are in no old pool."""
_TAKEN_BYTES_MAX = 512 << 10
"""Of one size; an allocator that hands out no places in order is left alone after that."""
_SIZES = (*range(_LARGE_BYTES, 16 << 10, -8192), *range(16 << 10, 4096, -512), *range(4072, 23, -16))
"""From large to small, so that one block takes a hole; the small ones are all the sizes that are told apart."""


def seal() -> None:
    """Return what can be returned to the kernel and take all holes, for good: once in a process, before it forks.

    Does nothing where the allocator is not glibc's.
    """
    libc = _libc()
    if libc is None:
        return
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
    _fill_pools()
    libc.free(libc.malloc(_LARGE_BYTES))
    libc.malloc_trim(0)
    start, end = _bounds()
    for size in _SIZES:
        block = libc.malloc(size)
        while start <= (block or 0) < end:
            block = libc.malloc(size)
        libc.free(block)  # the first that lies in no hole, but behind what the heap was


def _fill_pools() -> None:
    """Take the free places of Python's own allocator, until what it hands out of each size is in a new pool."""
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    places = [0]  # kept until the end: each is an object of 32 bytes itself
    for size in _SMALL_BYTES:
        in_order, in_a_pool = 0, min(_POOL_BYTES // size - 2, _IN_ORDER)
        for _ in range(_TAKEN_BYTES_MAX // size):
            places.append(allocate(size) or 0)
            in_order = in_order + 1 if 0 < places[-1] - places[-2] <= 2 * size else 0
            if in_order == in_a_pool:
                break


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
