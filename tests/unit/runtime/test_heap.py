"""The heap made ready to be shared: small blocks taken afterwards lie close together, not in the holes left before."""

from __future__ import annotations

import subprocess
import sys

BLOCK_BYTES = 704
BLOCKS = 500
PAGE_BYTES = 4096
HOLES = f"""
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_size_t,), (ctypes.c_void_p,)
blocks = [libc.malloc({BLOCK_BYTES}) for _ in range(50_000)]
for block in blocks[::20]:
    libc.free(block)
{{then}}
print(len({{{{libc.malloc({BLOCK_BYTES}) // {PAGE_BYTES} for _ in range({BLOCKS})}}}}))
"""
SEAL = "from jobsup.runtime import heap; heap.seal()"


def pages_of_new_blocks(then: str, program: str = HOLES) -> int:
    """Return on how many pages the blocks lie that a process takes which has left holes before."""
    done = subprocess.run(
        [sys.executable, "-c", program.format(then=then)], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


def test_what_is_allocated_after_the_seal_lies_close_together() -> None:
    together = BLOCKS * (BLOCK_BYTES + 16) // PAGE_BYTES
    assert pages_of_new_blocks("") > 4 * together
    assert pages_of_new_blocks(SEAL) <= together + 16


def test_sealing_again_ends_and_leaves_the_heap_usable() -> None:
    assert pages_of_new_blocks(f"{SEAL}; heap.seal()") > 0


OBJECT_BYTES = 80
OBJECT_HOLES = f"""
objects = [bytes({OBJECT_BYTES}) for _ in range(50_000)]
del objects[::20]
{{then}}
print(len({{{{id(each) // {PAGE_BYTES} for each in [bytes({OBJECT_BYTES}) for _ in range({BLOCKS})]}}}}))
"""


def test_small_objects_made_after_the_seal_lie_close_together() -> None:
    together = BLOCKS * 128 // PAGE_BYTES
    assert pages_of_new_blocks("", OBJECT_HOLES) > 4 * together
    assert pages_of_new_blocks(SEAL, OBJECT_HOLES) <= together + 16
