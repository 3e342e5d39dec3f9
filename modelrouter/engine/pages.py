"""A file's pages in the kernel's cache: read in, locked, dropped, through a mapping of our own.

It knows files and bytes, no weight and no goal. llama.cpp's mapping is of the same pages.
"""

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Final

import numpy as np

PAGE_BYTES: Final = mmap.PAGESIZE

MADV_POPULATE_READ: Final = 22
"""Linux 5.14; Python's mmap has no name for it."""

_libc = ctypes.CDLL(None, use_errno=True)
"""Asked directly: Python has no mlock, and its mmap.madvise holds up all other threads."""


class Pages:
    """The first `n_bytes` of a file, mapped. All places are whole pages of it."""

    def __init__(self, path: str, n_bytes: int) -> None:
        """Map the file; OSError or ValueError where it cannot be, or is shorter."""
        self._descriptor = os.open(path, os.O_RDONLY)  # open as long as the process lives
        try:
            self._memory = mmap.mmap(self._descriptor, n_bytes, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._address: int = np.frombuffer(self._memory, np.uint8).ctypes.data
        read_in_large_pieces(self._address, n_bytes)

    def lock(self, start: int, n_bytes: int) -> int:
        """Read pages in and lock them; return 0, or the error number and nothing is locked."""
        if error := self._call(_libc.mlock, start, n_bytes):
            self._call(_libc.munlock, start, n_bytes)  # where only the reading in failed
        return error

    def unlock(self, start: int, n_bytes: int) -> int:
        """Unlock pages and let go of them, for the kernel to take when it wants them."""
        return self._call(_libc.munlock, start, n_bytes) or self.let_go(start, n_bytes)

    def read(self, start: int, n_bytes: int) -> int:
        """Read pages in; return 0 or the error number."""
        return self._advise(start, n_bytes, MADV_POPULATE_READ)

    def let_go(self, start: int, n_bytes: int) -> int:
        """Take pages out of this mapping; others' and the page cache keep theirs."""
        return self._advise(start, n_bytes, mmap.MADV_DONTNEED)

    def drop(self, start: int, n_bytes: int) -> None:
        """Take pages that nobody has mapped or locked out of memory."""
        self.let_go(start, n_bytes)
        os.posix_fadvise(self._descriptor, start, n_bytes, os.POSIX_FADV_DONTNEED)

    def _advise(self, start: int, n_bytes: int, advice: int) -> int:
        return self._call(_libc.madvise, start, n_bytes, ctypes.c_int(advice))

    def _call(self, function: Callable[..., int], start: int, n_bytes: int, *rest: object) -> int:
        address = ctypes.c_void_p(self._address + start)
        failed = function(address, ctypes.c_size_t(n_bytes), *rest)
        return ctypes.get_errno() if failed else 0


def read_in_large_pieces(address: int, n_bytes: int) -> None:
    """Have the kernel read a mapping's pages 4 MB at a time, into huge pages where it has them.

    Whatever the disk's `read_ahead_kb`. It can refuse (no huge pages at all): then as ever.
    """
    huge = getattr(mmap, "MADV_HUGEPAGE", None)
    if huge is not None:
        _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(n_bytes), ctypes.c_int(huge))


def zap(address: int, n_bytes: int) -> None:
    """Take pages out of a mapping of this process, whoever made it; a touch brings them back."""
    size = ctypes.c_size_t(n_bytes)
    _libc.madvise(ctypes.c_void_p(address), size, ctypes.c_int(mmap.MADV_DONTNEED))


def whole_pages(n_bytes: int) -> int:
    """Round up to whole pages."""
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES
