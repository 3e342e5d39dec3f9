"""What Linux says of a running process: its workers, its memory, its threads, its open files.

It reads /proc and judges nothing. A process that is gone has no memory and no files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
WORKER = b"modelrouter.engine.worker"
KIB = 1024


@dataclass(frozen=True, slots=True)
class Held:
    """What the kernel cannot take back from a process. Nothing anonymous is locked here."""

    anonymous_bytes: int
    locked_bytes: int

    @property
    def total_bytes(self) -> int:
        """Both together."""
        return self.anonymous_bytes + self.locked_bytes


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a server has now.

    Between its fork and its exec a worker still is its parent, memory and name alike: not yet one.
    """
    return [child for child in _children(pid) if WORKER in _read_bytes(child, "cmdline")]


def _children(pid: int) -> Iterator[int]:
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return
    for task in tasks:
        yield from map(int, _read_bytes(pid, f"task/{task.name}/children").split())


def held(pid: int) -> Held:
    """Return what a process holds: its anonymous memory, and what it has locked of files."""
    status = _read_bytes(pid, "status")
    return Held(_size(status, "RssAnon"), _size(status, "VmLck"))


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    found = re.search(rb"^Threads:\s+(\d+)", _read_bytes(pid, "status"), re.MULTILINE)
    return int(found[1]) if found else 0


def open_files(pid: int) -> int:
    """Return how many file descriptors a process has."""
    return len(list((PROC / str(pid) / "fd").iterdir()))


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and not a zombie."""
    return bool(_read_bytes(pid, "cmdline"))


def maps(pid: int, file: Path) -> bool:
    """Tell whether a process has mapped a file."""
    return f"{file}\n".encode() in _read_bytes(pid, "maps")


def _size(status: bytes, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB".encode(), status, re.MULTILINE)
    return int(found[1]) * KIB if found else 0


def _read_bytes(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # it has just ended
        return b""
