"""Pinning real pages of real files, a few at a time: what is locked is what the kernel says.

At most 40 KiB are pinned at once, which every system allows.
"""

import errno
import os
import queue
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelrouter.engine.protocol import Pinned, Pinning, Span
from modelrouter.engine.residency import NOT_MAPPED, PAGE_BYTES, SUPERSEDED, Residency

HEADER_BYTES = PAGE_BYTES + 100


class Listener:
    """Asks a Residency for one goal after the other and keeps what it tells."""

    def __init__(self, *spans: Span) -> None:
        """Step by single pages, so that there are steps."""
        self.news: queue.SimpleQueue[Pinning | Pinned] = queue.SimpleQueue()
        self.steps: list[int] = []
        self.residency = Residency(spans, self.news.put, step_bytes=PAGE_BYTES)

    def end(self) -> Pinned:
        """Return the next goal's end; the steps to it stand in `steps`."""
        self.steps = []
        while isinstance(news := self.news.get(), Pinning):
            self.steps.append(news.n_bytes)
        return news

    def pin(self, n_bytes: int) -> Pinned:
        """Return the answer to one goal."""
        self.residency.pin(n_bytes)
        return self.end()


@contextmanager
def listening(*spans: Span) -> Iterator[Listener]:
    """Give a started Listener; nothing is left pinned after the block."""
    listener = Listener(*spans)
    listener.residency.start()
    yield listener
    listener.pin(0)


def weights(path: Path, pages: int) -> Span:
    """Write a file whose weights, behind the header, touch so many pages."""
    file_bytes = (pages + 1) * PAGE_BYTES
    path.write_bytes(b"\1" * file_bytes)
    return Span(str(path), HEADER_BYTES, file_bytes - HEADER_BYTES)


def pages_of(span: Span, kind: str) -> int:
    """Return how many pages of a file are in memory ("Rss") or "Locked", as the kernel counts."""
    n_bytes, is_its = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            is_its = line.endswith(f" {span.path}")
        elif is_its and line.startswith(f"{kind}:"):
            n_bytes += int(line.split()[1]) * 1024
    return n_bytes // PAGE_BYTES


def locked_pages(span: Span) -> int:
    """Return how many pages of a file this process has locked."""
    return pages_of(span, "Locked")


@pytest.fixture
def span(tmp_path: Path) -> Span:
    """A file of six pages."""
    return weights(tmp_path / "model.gguf", 6)


def test_it_grows_and_shrinks_in_steps(span: Span) -> None:
    """Each step is told, and the kernel has locked what each end says."""
    with listening(span) as listener:
        for pages, steps in ((2, [1, 2]), (5, [3, 4, 5]), (1, [4, 3, 2, 1]), (1, []), (0, [0])):
            assert listener.pin(pages * PAGE_BYTES) == Pinned(pages * PAGE_BYTES, None)
            assert listener.steps == [step * PAGE_BYTES for step in steps]
            assert locked_pages(span) == pages_of(span, "Rss") == pages


def test_bytes_are_rounded_up_to_pages(span: Span) -> None:
    """Locking works by pages: a byte needs one."""
    with listening(span) as listener:
        assert listener.pin(1) == Pinned(PAGE_BYTES, None)
        assert listener.pin(PAGE_BYTES + 1) == Pinned(2 * PAGE_BYTES, None)
        assert listener.pin(span.n_bytes) == Pinned(6 * PAGE_BYTES, None)


def test_split_files_are_pinned_in_their_order(tmp_path: Path) -> None:
    """The second file begins where the first ends, and gives back first."""
    first, second = weights(tmp_path / "a b.gguf", 3), weights(tmp_path / "c.gguf", 4)
    with listening(first, second) as listener:
        for pages, locked in ((2, (2, 0)), (5, (3, 2)), (7, (3, 4)), (4, (3, 1)), (1, (1, 0))):
            assert listener.pin(pages * PAGE_BYTES) == Pinned(pages * PAGE_BYTES, None)
            assert (locked_pages(first), locked_pages(second)) == locked


def test_no_more_can_be_pinned_than_there_is(span: Span) -> None:
    """All is pinned, and the answer says that it is all."""
    reason = f"its weights are {6 * PAGE_BYTES:,} bytes, and all of them are pinned"
    with listening(span) as listener:
        assert listener.pin(10**15) == Pinned(6 * PAGE_BYTES, reason)
        assert locked_pages(span) == 6


def test_weights_that_are_not_mapped() -> None:
    """There is nothing to pin, and the answer says why."""
    with listening() as listener:
        assert listener.pin(1) == Pinned(0, NOT_MAPPED)
        assert listener.pin(0) == Pinned(0, None)


def test_a_later_goal_takes_the_place_of_one_that_is_not_reached(span: Span) -> None:
    """Each goal has its own end, in order; only the last one is worked at."""
    listener = Listener(span)
    for pages in (5, 4, 2):
        listener.residency.pin(pages * PAGE_BYTES)
    listener.residency.start()
    assert listener.end() == Pinned(0, SUPERSEDED)
    assert listener.end() == Pinned(0, SUPERSEDED)
    assert listener.end() == Pinned(2 * PAGE_BYTES, None)
    assert listener.steps == [PAGE_BYTES, 2 * PAGE_BYTES]
    listener.pin(0)


def test_a_file_that_is_gone_or_cut_short(span: Span, tmp_path: Path) -> None:
    """Pinning ends with the reason; the thread lives on."""
    longer = Span(span.path, 0, 8 * PAGE_BYTES)
    gone = Span(str(tmp_path / "gone.gguf"), 0, 1)
    for bad, words in ((longer, "mmap length"), (gone, "No such file")):
        with listening(span, bad) as listener:
            answer = listener.pin(1)
            assert answer.n_bytes == 0
            assert answer.reason is not None
            assert answer.reason.startswith("its file cannot be mapped: ")
            assert words in answer.reason
            assert locked_pages(span) == 0


def test_a_file_that_is_cut_short_later(span: Span) -> None:
    """What can be pinned is; what is told is what the kernel counts, page by page."""
    with listening(span) as listener:
        listener.pin(PAGE_BYTES)
        before = locked_by_the_process()
        os.truncate(span.path, 4 * PAGE_BYTES)
        assert listener.pin(6 * PAGE_BYTES) == Pinned(
            3 * PAGE_BYTES, f"mlock: {os.strerror(errno.ENOMEM)}"
        )
        assert locked_by_the_process() - before == 2 * PAGE_BYTES


def locked_by_the_process() -> int:
    """Return what counts against the limit, whether it is in memory or not."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmLck:"))


LIMITED = """
import queue, sys
from modelrouter.engine.protocol import Pinned, Span
from modelrouter.engine.residency import Residency

news = queue.SimpleQueue()
residency = Residency([Span(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))], news.put)
residency.start()
for goal in map(int, sys.argv[4:]):
    residency.pin(goal)
    while not isinstance(answer := news.get(), Pinned):
        pass
    print(answer.n_bytes, answer.reason)
"""
WITHOUT_PRIVILEGE = """
import ctypes, os, resource, sys
PR_CAPBSET_DROP, CAP_IPC_LOCK = 24, 14
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0)
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit // 2, limit))
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[2:]])
"""


def limited(limit_bytes: int, span: Span, *goals: int) -> list[str]:
    """Return the answers of a process that may lock so much, whoever runs it."""
    numbers = map(str, (span.offset, span.n_bytes, *goals))
    arguments = [str(limit_bytes), LIMITED, span.path, *numbers]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGE, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_the_limit_on_locked_memory_is_used_up_and_named(span: Span) -> None:
    """Up to the last page of the hard limit; then the answer says what allows no more."""
    limit = 5 * PAGE_BYTES
    reason = (
        f"RLIMIT_MEMLOCK allows {limit / 2**20:g} MiB: "
        "raise it with ulimit -l, or with LimitMEMLOCK= in the systemd unit"
    )
    assert limited(limit, span, limit, 6 * PAGE_BYTES, PAGE_BYTES, 10**9) == [
        f"{limit} None",
        f"{limit} {reason}",
        f"{PAGE_BYTES} None",
        f"{limit} {reason}",
    ]


def test_a_limit_of_nothing(span: Span) -> None:
    """Nothing is pinned, and the reason is the same."""
    (answer,) = limited(0, span, PAGE_BYTES)
    assert answer.startswith("0 RLIMIT_MEMLOCK allows 0 MiB: ")
