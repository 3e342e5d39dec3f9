"""Pinning: the first bytes of a mapped model's weights, locked in memory while the model runs.

It locks pages of the files through mappings of its own; llama.cpp's mapping is of the same pages.
It knows files and bytes, no tensor and no llama.cpp.

A thread of its own works in steps, so that decoding goes on, and a new goal is heeded after the
step at hand. Every goal is answered exactly once, in order.
"""

import bisect
import ctypes
import errno
import itertools
import mmap
import os
import queue
import resource
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from modelrouter.engine.protocol import Pinned, Pinning, Span

STEP_BYTES = 64 * 2**20
"""What is locked or unlocked before a new goal is looked at: 40 ms of a disk's 1.5 GB/s."""

PAGE_BYTES = mmap.PAGESIZE
SUPERSEDED = "another goal came before it was reached"
NOT_MAPPED = "its weights are in memory of its own, not mapped from the file"

Tell: TypeAlias = Callable[[Pinning | Pinned], None]

_libc = ctypes.CDLL(None, use_errno=True)
"""Asked directly: Python has no mlock, and its mmap.madvise holds up all other threads."""


class Residency:
    """Keeps the first bytes of the weights pinned, as many as it was last told."""

    def __init__(self, weights: Sequence[Span], tell: Tell, step_bytes: int = STEP_BYTES) -> None:
        """Pin bytes of `weights`, in their order; none for weights that are not mapped.

        `tell` hears every step and every goal's end, in the thread that pins. `step_bytes` are
        whole pages.
        """
        self._weights = weights
        self._tell = tell
        self._step_bytes = step_bytes
        self._goals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._mappings: list[_Mapping] = []
        self._starts: list[int] = []
        self._pinned_bytes = 0

    def start(self) -> None:
        """Start the thread; it inherits the caller's priority."""
        threading.Thread(target=self._run, daemon=True).start()

    def pin(self, n_bytes: int) -> None:
        """Have the first `n_bytes`, rounded up to whole pages, pinned, and no others."""
        self._goals.put(n_bytes)

    def _run(self) -> None:
        _raise_limit()
        while True:
            reason = self._reach(self._goals.get())
            self._tell(Pinned(self._pinned_bytes, reason))

    def _reach(self, n_bytes: int) -> str | None:
        """Come as near to `n_bytes` as can be; return why not all the way."""
        if not self._weights:
            return NOT_MAPPED if n_bytes else None
        try:
            self._map()
        except (OSError, ValueError) as error:
            return f"its file cannot be mapped: {error}"
        all_bytes = self._starts[-1]
        reason = self._move(min(_whole_pages(n_bytes), all_bytes))
        if reason is None and self._pinned_bytes < n_bytes:
            return f"its weights are {all_bytes:,} bytes, and all of them are pinned"
        return reason

    def _map(self) -> None:
        if not self._mappings:
            self._mappings = [_Mapping(span) for span in self._weights]
            sizes = (mapping.n_bytes for mapping in self._mappings)
            self._starts = list(itertools.accumulate(sizes, initial=0))

    def _move(self, goal_bytes: int) -> str | None:
        while self._pinned_bytes != goal_bytes:
            if not self._goals.empty():
                return SUPERSEDED
            step = self._grow if self._pinned_bytes < goal_bytes else self._shrink
            if reason := step(goal_bytes):
                return reason
            self._tell(Pinning(self._pinned_bytes))
        return None

    def _grow(self, goal_bytes: int) -> str | None:
        mapping, start = self._at(self._pinned_bytes)
        left_bytes = min(goal_bytes - self._pinned_bytes, mapping.n_bytes - start)
        n_bytes, error = _lock_most(mapping, start, min(self._step_bytes, left_bytes))
        self._pinned_bytes += n_bytes
        return None if n_bytes else _reason(error, self._pinned_bytes)

    def _shrink(self, goal_bytes: int) -> str | None:
        mapping, last = self._at(self._pinned_bytes - 1)
        n_bytes = min(self._step_bytes, self._pinned_bytes - goal_bytes, last + 1)
        if error := mapping.unlock(last + 1 - n_bytes, n_bytes):
            return f"munlock: {os.strerror(error)}"
        self._pinned_bytes -= n_bytes
        return None

    def _at(self, position: int) -> tuple["_Mapping", int]:
        """Return the mapping that holds the byte at `position` of all, and its place in there."""
        index = bisect.bisect_right(self._starts, position) - 1
        return self._mappings[index], position - self._starts[index]


class _Mapping:
    """A file's whole pages that hold weights; `start` counts from the first of them."""

    def __init__(self, span: Span) -> None:
        end = span.offset + span.n_bytes
        with Path(span.path).open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), end, access=mmap.ACCESS_READ)
        first = span.offset // PAGE_BYTES * PAGE_BYTES
        self._address: int = np.frombuffer(self._memory, np.uint8).ctypes.data + first
        self.n_bytes = _whole_pages(end) - first

    def lock(self, start: int, n_bytes: int) -> int:
        """Read the pages in and lock them; return 0, or the error number and nothing is locked."""
        if error := self._call(_libc.mlock, start, n_bytes):
            self._call(_libc.munlock, start, n_bytes)  # where only the reading in failed
        return error

    def unlock(self, start: int, n_bytes: int) -> int:
        """Unlock the pages and let go of them, for the kernel to take when it wants them."""
        if error := self._call(_libc.munlock, start, n_bytes):
            return error
        return self._call(_libc.madvise, start, n_bytes, ctypes.c_int(mmap.MADV_DONTNEED))

    def _call(self, function: Callable[..., int], start: int, n_bytes: int, *rest: object) -> int:
        address = ctypes.c_void_p(self._address + start)
        failed = function(address, ctypes.c_size_t(n_bytes), *rest)
        return ctypes.get_errno() if failed else 0


def _lock_most(mapping: _Mapping, start: int, n_bytes: int) -> tuple[int, int]:
    """Lock `n_bytes`, or half of them, or half of that; return how many, and the last error."""
    error = 0
    while n_bytes:
        error = mapping.lock(start, n_bytes)
        if not error:
            break
        n_bytes = n_bytes // 2 // PAGE_BYTES * PAGE_BYTES
    return n_bytes, error


def _reason(error: int, pinned_bytes: int) -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    is_reached = limit != resource.RLIM_INFINITY and pinned_bytes + PAGE_BYTES > limit
    if is_reached and error in {errno.ENOMEM, errno.EPERM}:
        return (
            f"RLIMIT_MEMLOCK allows {limit / 2**20:g} MiB: "
            "raise it with ulimit -l, or with LimitMEMLOCK= in the systemd unit"
        )
    return f"mlock: {os.strerror(error)}"


def _raise_limit() -> None:
    """Use all that the hard limit allows; raising the soft one needs no privilege."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def _whole_pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES
