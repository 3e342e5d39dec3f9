"""Pinning: the first bytes of a mapped model's weights, locked in memory while the model runs.

What comes first was decided before. It knows files and bytes, no tensor and no llama.cpp.

A thread of its own works in steps, so that decoding goes on, and a new goal is heeded after the
step at hand. Every goal is answered exactly once, in order.
"""

import bisect
import errno
import itertools
import os
import queue
import resource
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from modelrouter.engine.pages import PAGE_BYTES, Pages, whole_pages
from modelrouter.engine.protocol import Pinned, Pinning, Span

STEP_BYTES = 64 * 2**20
"""What is locked or unlocked before a new goal is looked at: 40 ms of a disk's 1.5 GB/s."""

SUPERSEDED = "another goal came before it was reached"
NOT_MAPPED = "its weights are in memory of its own, not mapped from the file"

Tell: TypeAlias = Callable[[Pinning | Pinned], None]


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
        self._stretches: list[_Stretch] = []
        self._starts: list[int] = []
        self.pinned_bytes = 0
        """How many of the weights' first bytes are locked now; any thread may read it."""

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
            self._tell(Pinned(self.pinned_bytes, reason))

    def _reach(self, n_bytes: int) -> str | None:
        """Come as near to `n_bytes` as can be; return why not all the way."""
        if not self._weights:
            return NOT_MAPPED if n_bytes else None
        try:
            self._map()
        except (OSError, ValueError) as error:
            return f"its file cannot be mapped: {error}"
        all_bytes = self._starts[-1]
        reason = self._move(min(whole_pages(n_bytes), all_bytes))
        if reason is None and self.pinned_bytes < n_bytes:
            return f"its weights are {all_bytes:,} bytes, and all of them are pinned"
        return reason

    def _map(self) -> None:
        if not self._stretches:
            ends: dict[str, int] = {}
            for span in self._weights:
                ends[span.path] = max(ends.get(span.path, 0), span.offset + span.n_bytes)
            files = {path: Pages(path, end) for path, end in ends.items()}
            self._stretches = [_Stretch(files[span.path], span) for span in self._weights]
            sizes = (stretch.n_bytes for stretch in self._stretches)
            self._starts = list(itertools.accumulate(sizes, initial=0))

    def _move(self, goal_bytes: int) -> str | None:
        while self.pinned_bytes != goal_bytes:
            if not self._goals.empty():
                return SUPERSEDED
            step = self._grow if self.pinned_bytes < goal_bytes else self._shrink
            if reason := step(goal_bytes):
                return reason
            self._tell(Pinning(self.pinned_bytes))
        return None

    def _grow(self, goal_bytes: int) -> str | None:
        stretch, start = self._at(self.pinned_bytes)
        left_bytes = min(goal_bytes - self.pinned_bytes, stretch.n_bytes - start)
        n_bytes, error = _lock_most(stretch, start, min(self._step_bytes, left_bytes))
        self.pinned_bytes += n_bytes
        return None if n_bytes else _reason(error, self.pinned_bytes)

    def _shrink(self, goal_bytes: int) -> str | None:
        stretch, last = self._at(self.pinned_bytes - 1)
        n_bytes = min(self._step_bytes, self.pinned_bytes - goal_bytes, last + 1)
        if error := stretch.unlock(last + 1 - n_bytes, n_bytes):
            return f"munlock: {os.strerror(error)}"
        self.pinned_bytes -= n_bytes
        return None

    def _at(self, position: int) -> tuple["_Stretch", int]:
        """Return the stretch that holds the byte at `position` of all, and its place in there."""
        index = bisect.bisect_right(self._starts, position) - 1
        return self._stretches[index], position - self._starts[index]


class _Stretch:
    """A span's whole pages; `start` counts from the first of them."""

    def __init__(self, file: Pages, span: Span) -> None:
        self._file = file
        self._first = span.offset // PAGE_BYTES * PAGE_BYTES
        self.n_bytes = whole_pages(span.offset + span.n_bytes) - self._first

    def lock(self, start: int, n_bytes: int) -> int:
        return self._file.lock(self._first + start, n_bytes)

    def unlock(self, start: int, n_bytes: int) -> int:
        return self._file.unlock(self._first + start, n_bytes)


def _lock_most(stretch: _Stretch, start: int, n_bytes: int) -> tuple[int, int]:
    """Lock `n_bytes`, or half of them, or half of that; return how many, and the last error."""
    error = 0
    while n_bytes:
        error = stretch.lock(start, n_bytes)
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
