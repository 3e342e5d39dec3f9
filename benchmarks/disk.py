"""A disk's own speed at a file: read in a row, past the page cache, two large requests at once."""

import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE_BYTES = 16 * 2**20
SAMPLE_BYTES = 2048 * 2**20
REQUESTS = 2
SETTLING_SECONDS = 1.0
"""Before a sample: a stream may still be filling its window."""


class Disk:
    """The disk under a file."""

    def __init__(self, path: Path) -> None:
        """Samples begin at a new place each time, so that none is read twice in a row."""
        self._path = path
        self._place = 0

    def rate(self) -> float:
        """Return GB a second of a sample of 2 GiB."""
        time.sleep(SETTLING_SECONDS)
        pieces = self._path.stat().st_size // PIECE_BYTES
        places = [(self._place + n) % pieces for n in range(SAMPLE_BYTES // PIECE_BYTES)]
        started = time.perf_counter()
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(self._read, (places[n::REQUESTS] for n in range(REQUESTS))))
        seconds = time.perf_counter() - started
        self._place += pieces // 3
        return SAMPLE_BYTES / seconds / 1e9

    def _read(self, places: list[int]) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, PIECE_BYTES) as buffer:
            for place in places:
                os.preadv(descriptor, [buffer], place * PIECE_BYTES)
        os.close(descriptor)

    def forget(self) -> None:
        """Have the kernel drop the file's pages."""
        descriptor = os.open(self._path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)

    def read_ahead_kb(self) -> str:
        """Return how much the kernel reads ahead on this disk."""
        device = self._path.stat().st_dev
        queue = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/read_ahead_kb")
        return queue.read_text().strip() if queue.exists() else "not known"
