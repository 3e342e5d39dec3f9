"""Reading from memory and from a disk: bounded, and as fast as bytes over seconds."""

import os
from pathlib import Path

import pytest

from modelrouter.errors import BadModelFile
from modelrouter.memory.bandwidth import BLOCK_BYTES, disk_bandwidth, memory_bandwidth


def read_by_this_process() -> int:
    """Return how many bytes this process has asked the kernel for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


def test_memory_gives_something() -> None:
    """One round at least is read, however little time there is."""
    assert memory_bandwidth(2, seconds=0.0) > 0


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux tells what was read")
def test_no_more_of_a_file_is_read_than_asked_for(tmp_path: Path) -> None:
    """A bounded number of bytes, in blocks; a file that ends within a block is read to its end."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(6 * BLOCK_BYTES + 4096 + 7))
    for most_blocks, expected in ((2, 2 * BLOCK_BYTES), (100, file.stat().st_size)):
        before = read_by_this_process()
        assert disk_bandwidth(file, most_blocks * BLOCK_BYTES, seconds=60) > 0
        read_bytes = read_by_this_process() - before
        assert expected <= read_bytes < expected + 2**20


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(BadModelFile, match=r"gone\.gguf cannot be read: No such file"):
        disk_bandwidth(tmp_path / "gone.gguf")
