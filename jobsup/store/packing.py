"""Large outputs made small: in blocks that are each compressed by themselves, so that any part is read alone.

    magic (8 bytes), bytes in all (8), number of blocks (4), the length of each block (4 each), the blocks

What would not get much smaller, or is small anyway, stays as it is; the magic tells the two apart, and an output that
begins with it itself is always packed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import accumulate

MAGIC = b"\x00jobsup\x01"
PACK_BYTES_MIN = 16 << 10
BLOCK_BYTES = 64 << 10
LEVEL = 1
"""The fastest: text gets five times smaller by it, and six times by the slowest."""
WORTH_IT = 0.9

_HEAD = struct.Struct(">8sQI")
_LENGTH = struct.Struct(">I")

Read = Callable[[int, int], bytes]
"""Reads (start, length) of what is stored."""


class Packed(bytes):
    """An output as it is stored."""

    __slots__ = ()


def is_packable(data: bytes) -> bool:
    """Say whether it is large enough for packing to be tried, or has to be packed so as not to be misread."""
    return len(data) >= PACK_BYTES_MIN or data.startswith(MAGIC)


def pack(data: bytes) -> Packed:
    """Return what is to be stored for an output. Compressing holds up no other thread."""
    if not is_packable(data):
        return Packed(data)
    must = data.startswith(MAGIC)
    view = memoryview(data)
    blocks = [zlib.compress(view[at : at + BLOCK_BYTES], LEVEL) for at in range(0, len(data), BLOCK_BYTES)]
    if sum(map(len, blocks)) > WORTH_IT * len(data) and not must:
        return Packed(data)
    head = _HEAD.pack(MAGIC, len(data), len(blocks))
    return Packed(b"".join((head, *(_LENGTH.pack(len(block)) for block in blocks), *blocks)))


def unpack(stored: bytes) -> bytes:
    """Return the whole output of what is stored."""
    if not stored.startswith(MAGIC):
        return stored
    view = memoryview(stored)
    return b"".join(read_part(lambda start, length: bytes(view[start : start + length]), 0, len(stored) << 10))


def read_part(read: Read, start: int, length: int) -> Iterator[bytes]:
    """Yield the output from `start` on, `length` bytes at most, a block at a time: only what it touches is read."""
    head = read(0, _HEAD.size)
    if not head.startswith(MAGIC):
        yield read(start, length)
        return
    _, total, count = _HEAD.unpack(head)
    stop = min(total, start + length)
    lengths = [size for (size,) in _LENGTH.iter_unpack(read(_HEAD.size, count * _LENGTH.size))]
    places = list(accumulate(lengths, initial=_HEAD.size + count * _LENGTH.size))
    for number in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
        block = zlib.decompress(read(places[number], lengths[number]))
        first = number * BLOCK_BYTES
        yield block[max(0, start - first) : stop - first]
