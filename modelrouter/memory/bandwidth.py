"""How many bytes a second memory and a disk give: measured by reading, in a second or two.

It knows threads and files, no model. Whoever calls it keeps what it found (`speeds.py`).
"""

import errno
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from modelrouter.errors import BadModelFile

BUFFER_BYTES = 256 * 2**20
"""More than the caches of all but the largest servers hold."""

BLOCK_BYTES = 4 * 2**20
READERS = 4
"""Blocks asked for at a time: a fast disk wants more than one. A virtual one here gave 1.4 GB/s
with one reader as with eight.
"""

O_DIRECT: int = getattr(os, "O_DIRECT", 0)  # macOS has none


def memory_bandwidth(threads: int, seconds: float = 0.5) -> float:
    """Return the most bytes a second that so many threads read from memory at once."""
    buffers = np.array_split(np.ones(BUFFER_BYTES // 8, np.int64), threads)
    best = 0.0
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(threads) as pool:
        while not best or time.perf_counter() < end:
            began = time.perf_counter()
            list(pool.map(np.sum, buffers))
            best = max(best, BUFFER_BYTES / (time.perf_counter() - began))
    return best


def disk_bandwidth(file: Path, most_bytes: int = 2 * 2**30, seconds: float = 1.5) -> float:
    """Return the bytes a second at which the beginning of a file comes from its disk.

    The page cache is passed by, with O_DIRECT; where a file system knows none, the file's pages are
    dropped from it first, but for those that somebody has mapped. BadModelFile where it cannot be
    read.
    """
    try:
        return _timed(file, O_DIRECT, most_bytes, seconds)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise BadModelFile(f"{file} cannot be read: {error.strerror or error}") from error
    return _timed(file, 0, most_bytes, seconds)


def _timed(file: Path, flags: int, most_bytes: int, seconds: float) -> float:
    descriptor = os.open(file, os.O_RDONLY | flags)
    try:
        n_bytes = min(most_bytes, os.fstat(descriptor).st_size)
        if not flags and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, n_bytes, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        read_bytes = _read(descriptor, n_bytes, began + seconds)
        return read_bytes / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


def _read(descriptor: int, n_bytes: int, deadline: float) -> int:
    """Read the first `n_bytes` in blocks, several at a time; return how many came in time."""

    def read_every(first: int) -> int:
        block = mmap.mmap(-1, BLOCK_BYTES)  # whole pages, as O_DIRECT wants them
        read_bytes = 0
        for offset in range(first * BLOCK_BYTES, n_bytes, READERS * BLOCK_BYTES):
            read_bytes += os.preadv(descriptor, [block], offset)
            if time.perf_counter() > deadline:
                break
        return read_bytes

    with ThreadPoolExecutor(READERS) as pool:
        return sum(pool.map(read_every, range(READERS)))
