"""Pressure: how much may be pinned, as the machine's memory comes and goes.

Pinned bytes are given back fast and taken back slowly. It knows readings and bytes, no model and
nobody who pins; the rule is pure, the watch is told when to look.

Stalls alone prove nothing: a model that streams through the page cache stalls all the time (some
avg10 17, full avg10 8, measured with nearly all of a full cgroup reclaimable), and giving its
pinned part back would only make it stream more. So they raise the floor by the margin, no more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from modelrouter.errors import ModelRouterError
from modelrouter.memory.budget import read_machine
from modelrouter.memory.cgroups import own_cgroups
from modelrouter.memory.stall import Stall, read_stall

log = logging.getLogger(__name__)

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine. `stall` None: the kernel does not tell."""

    available_bytes: int
    stall: Stall | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is kept available, and how slowly pinning grows again.

    Below `reserve_bytes` pinned bytes are given back. Only above `margin_bytes` more, for
    `calm_readings` in a row, may pinning grow: by `step_bytes` at most, by `grain_bytes` at least.
    """

    reserve_bytes: int
    margin_bytes: int = 256 * MIB
    step_bytes: int = 1024 * MIB
    grain_bytes: int = 64 * MIB
    calm_readings: int = 10
    stalled_some_percent: float = 20.0
    stalled_full_percent: float = 5.0

    def floor_bytes(self, reading: Reading) -> int:
        """Return what must stay available: the reserve, and the margin too while tasks stall."""
        stall = reading.stall
        is_stalled = stall is not None and (
            stall.some_avg10 >= self.stalled_some_percent
            or stall.full_avg10 >= self.stalled_full_percent
        )
        return self.reserve_bytes + (self.margin_bytes if is_stalled else 0)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most bytes that may be pinned, after `calm` readings in a row with room for more."""

    n_bytes: int
    calm: int = 0

    def give_back_bytes(self, pinned_bytes: int) -> int:
        """Return how much of what is pinned must go."""
        return max(0, pinned_bytes - self.n_bytes)

    def room_bytes(self, pinned_bytes: int) -> int:
        """Return how much more may be pinned."""
        return max(0, self.n_bytes - pinned_bytes)


def next_ceiling(now: Ceiling | None, reading: Reading, pinned_bytes: int, rule: Rule) -> Ceiling:
    """Return the ceiling after a reading; `now` None for the first.

    `pinned_bytes` is what is really pinned: what was granted and is not pinned yet, or given back
    and pinned still, is not counted twice.
    """
    floor = rule.floor_bytes(reading)
    most = max(0, pinned_bytes + reading.available_bytes - floor)
    if now is None:
        return Ceiling(max(0, most - rule.margin_bytes))
    if most < now.n_bytes:
        # Into the middle of the margin: the next tremble must not cost another step.
        return Ceiling(max(0, most - rule.margin_bytes // 2))
    return _grown(now, _spare_bytes(now, reading, pinned_bytes, rule), rule)


def _spare_bytes(now: Ceiling, reading: Reading, pinned_bytes: int, rule: Rule) -> int:
    """Return what is left above floor and margin once all that may be pinned is pinned."""
    settled = reading.available_bytes - now.room_bytes(pinned_bytes)
    return settled - rule.floor_bytes(reading) - rule.margin_bytes


def _grown(now: Ceiling, spare_bytes: int, rule: Rule) -> Ceiling:
    if spare_bytes < rule.grain_bytes:
        return Ceiling(now.n_bytes)
    if now.calm + 1 < rule.calm_readings:
        return Ceiling(now.n_bytes, now.calm + 1)
    return Ceiling(now.n_bytes + min(spare_bytes, rule.step_bytes))


def read(root: Path = Path("/")) -> Reading:
    """Look at the machine; `root` stands before every path, for a test's own machine."""
    return Reading(read_machine(root).available_bytes, read_stall(root, own_cgroups(root)))


async def every(seconds: float) -> AsyncIterator[None]:
    """Tick at once, and then again and again."""
    while True:
        yield
        await asyncio.sleep(seconds)


class PressureWatch:
    """Looks at the machine at every tick and tells when the ceiling of pinned bytes changes."""

    def __init__(
        self,
        rule: Rule,
        pinned: Callable[[], int],
        changed: Callable[[int], None],
        look: Callable[[], Reading] = read,
    ) -> None:
        """Ask `pinned` for the bytes that are really pinned; call `changed` with a new ceiling."""
        self._rule = rule
        self._pinned = pinned
        self._changed = changed
        self._look = look
        self._is_blind = False
        self.ceiling: Ceiling | None = None
        """None before the first reading."""

    async def run(self, ticks: AsyncIterator[object]) -> None:
        """Watch until the ticks end; a reading that fails changes nothing and is logged."""
        async for _ in ticks:
            try:
                reading = self._look()
            except ModelRouterError as error:
                self._log_blindness(error)
            else:
                self._is_blind = False
                self._take(reading)

    def _take(self, reading: Reading) -> None:
        before = self.ceiling
        self.ceiling = next_ceiling(before, reading, self._pinned(), self._rule)
        if before is None or before.n_bytes != self.ceiling.n_bytes:
            self._changed(self.ceiling.n_bytes)

    def _log_blindness(self, error: ModelRouterError) -> None:
        if not self._is_blind:
            log.warning("memory pressure cannot be read: %s", error)
        self._is_blind = True
