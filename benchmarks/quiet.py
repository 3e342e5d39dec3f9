"""Samples that nobody else disturbed: taken again while other programs take much of the CPU.

It judges a sample by what others used meanwhile, never by the figure that came out. It always ends:
on a box that is never quiet, the least disturbed of a few tries stands, and is counted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psutil

MOST_FOREIGN = 0.1
"""The share of all CPU time that others may take during a sample."""
TRIES = 4
PATIENCE_SECONDS = 6.0
PEEK_SECONDS = 0.3

Sample = TypeVar("Sample")


class Clock:
    """What others than this process and its children have made of the CPUs since it was made."""

    def __init__(self) -> None:
        """Start now."""
        self._total, self._foreign = self._read()

    @staticmethod
    def _read() -> tuple[float, float]:
        times = psutil.cpu_times()
        total = sum(times) - times.guest - times.guest_nice  # both are in user and nice already
        own = 0.0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            spent = process.cpu_times()
            own += spent.user + spent.system
        return total, total - times.idle - times.iowait - own

    def foreign_share(self) -> float:
        """Return the share that others took, from 0 to 1."""
        total, foreign = self._read()
        return (foreign - self._foreign) / max(total - self._total, 0.01)


class Quiet:
    """Takes samples, and counts those that had to be taken in company."""

    def __init__(self) -> None:
        """Begin with none."""
        self.samples = 0
        self.disturbed = 0

    async def sample(self, measure: Callable[[], Awaitable[Sample]]) -> Sample:
        """Return what `measure` gives in a quiet moment, or in the least busy one of a few."""
        tries: list[tuple[float, Sample]] = []
        while len(tries) < TRIES:
            await self._wait()
            clock = Clock()
            found = await measure()
            tries.append((clock.foreign_share(), found))
            if tries[-1][0] <= MOST_FOREIGN:
                break
        share, best = min(tries, key=lambda each: each[0])
        self.samples += 1
        self.disturbed += share > MOST_FOREIGN
        return best

    async def _wait(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            clock = Clock()
            await asyncio.sleep(PEEK_SECONDS)
            if clock.foreign_share() <= MOST_FOREIGN:
                return
