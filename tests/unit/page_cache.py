"""What of a file is in the kernel's page cache."""

import ctypes
import mmap
import os
from pathlib import Path

import pytest

PAGE = mmap.PAGESIZE


def forget(path: Path) -> None:
    """Have the kernel drop the file's pages."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(path):
        pytest.skip(f"{path.parent} is on a file system that lives in memory")


def pages_in_memory(path: Path) -> int:
    """Return how many of the file's pages are in memory, as mincore says."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE) as memory:
        count = -(-len(memory) // PAGE)
        found = (ctypes.c_ubyte * count)()
        first = ctypes.c_char.from_buffer(memory)
        address = ctypes.c_void_p(ctypes.addressof(first))
        assert ctypes.CDLL(None).mincore(address, ctypes.c_size_t(len(memory)), found) == 0
        del first
    return sum(page & 1 for page in found)
