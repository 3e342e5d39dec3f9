"""What a process holds: the kernel's figure follows what the process does."""

import mmap
import os
import subprocess
from pathlib import Path

import pytest

from modelrouter.errors import EngineError
from modelrouter.memory.process import held_bytes

MIB = 2**20


def test_memory_that_is_touched_counts() -> None:
    """Anonymous memory counts from the moment it is written to, and no more once it is freed."""
    before = held_bytes(os.getpid())
    with mmap.mmap(-1, 32 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as reserved:
        assert held_bytes(os.getpid()) - before < MIB
        for _ in range(32):
            reserved.write(b"\1" * MIB)
        assert 32 * MIB <= held_bytes(os.getpid()) - before < 34 * MIB
    assert held_bytes(os.getpid()) - before < 2 * MIB


def test_the_page_cache_does_not_count(tmp_path: Path) -> None:
    """A file that is mapped and read stays the kernel's."""
    path = tmp_path / "weights"
    path.write_bytes(b"\1" * 8 * MIB)
    before = held_bytes(os.getpid())
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[::4096]) == 8 * MIB // 4096
        assert held_bytes(os.getpid()) - before < MIB


def test_a_process_that_is_gone() -> None:
    """There is nothing to be known of it."""
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(EngineError, match=f"the memory of process {process.pid} is not known"):
        held_bytes(process.pid)
