"""The rule in plain numbers, the readings of machines of a test's own, and the watch."""

import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from linux_tree import GIB, V2_MOUNT, V2_TOP, plant, v2

from modelrouter.errors import ConfigError
from modelrouter.memory.pressure import (
    Ceiling,
    PressureWatch,
    Reading,
    Rule,
    every,
    next_ceiling,
    read,
)
from modelrouter.memory.stall import Stall

RULE = Rule(1000, margin_bytes=200, step_bytes=300, grain_bytes=10, calm_readings=3)
STALLED = Stall(0, 5)


def course(now: Ceiling | None, available: Iterable[int], pinned: int) -> list[int]:
    """Return the ceilings after readings of so many available bytes."""
    ceilings = []
    for available_bytes in available:
        now = next_ceiling(now, Reading(available_bytes), pinned, RULE)
        ceilings.append(now.n_bytes)
    return ceilings


def test_the_first_reading_leaves_reserve_and_margin() -> None:
    """There is nothing to be slow about before anything was given back."""
    assert course(None, [5000], pinned=0) == [3800]
    assert course(None, [900], pinned=0) == [0]


def test_what_is_short_goes_at_once_and_comes_back_slowly() -> None:
    """500 bytes below the reserve: they go, with half a margin, in one step.

    After three readings with more than reserve and margin some come back, in steps.
    """
    assert course(Ceiling(4000), [500], pinned=4000) == [3400]
    for nothing_to_do in (1000, 1100, 1205):
        assert course(Ceiling(3400), [nothing_to_do] * 9, pinned=3400) == [3400] * 9
    assert course(Ceiling(3400), [2000] * 4, pinned=3400) == [3400, 3400, 3700, 3700]
    assert course(Ceiling(3400), [2000, 2000, 1200, 2000, 2000], pinned=3400) == [3400] * 5


def test_what_was_given_back_and_is_pinned_still_is_not_asked_for_again() -> None:
    """A reading that comes before the pages are free does not lower the ceiling further."""
    assert course(Ceiling(4000), [500, 500, 500], pinned=4000) == [3400, 3400, 3400]


def test_what_was_granted_and_is_not_pinned_yet_is_not_granted_again() -> None:
    """Memory that looks free, but is promised, is not promised twice."""
    assert course(Ceiling(4000), [2200] * 9, pinned=3000) == [4000] * 9


@pytest.mark.parametrize(
    ("stall", "floor_bytes"),
    [
        (None, 1000),
        (Stall(19.9, 4.9), 1000),
        (Stall(20, 0), 1200),
        (STALLED, 1200),
        (Stall(90, 90), 1200),
    ],
)
def test_stalls_raise_the_floor_by_the_margin(stall: Stall | None, floor_bytes: int) -> None:
    """And by no more: a model that streams stalls always."""
    assert RULE.floor_bytes(Reading(0, stall)) == floor_bytes


def test_stalls_with_much_memory_available_take_nothing() -> None:
    """The model that streams keeps its pinned part, however long it stalls."""
    ceiling = Ceiling(4000)
    for _ in range(20):
        ceiling = next_ceiling(ceiling, Reading(1300, STALLED), 4000, RULE)
    assert ceiling.n_bytes == 4000


PSI = """\
some avg10={}.50 avg60=0.00 avg300=0.00 total=4740411
full avg10={}.25 avg60=0.00 avg300=0.00 total=2270812
"""
IN_SLICE = {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2_MOUNT}


@pytest.mark.parametrize(
    ("files", "stall"),
    [
        ({}, Stall(0, 0)),
        ({"proc/pressure/memory": PSI.format(17, 8)}, Stall(17.5, 8.25)),
        ({f"{V2_TOP}/a/b/memory.pressure": PSI.format(3, 2)}, Stall(3.5, 2.25)),
        (
            {
                "proc/pressure/memory": PSI.format(1, 9),
                f"{V2_TOP}/a/b/memory.pressure": PSI.format(3, 2),
            },
            Stall(3.5, 9.25),
        ),
        ({f"{V2_TOP}/a/memory.pressure": PSI.format(3, 2)}, Stall(3.5, 2.25)),
        ({"proc/pressure/memory": "some avg10=1.00 avg60=0.00"}, None),
        ({"proc/pressure/memory": "\0\n"}, None),
    ],
    ids=["quiet", "machine", "own cgroup", "the worse of both", "above", "half a file", "garbage"],
)
def test_a_reading_is_what_the_files_say(
    files: dict[str, str], stall: Stall | None, tmp_path: Path
) -> None:
    """Available memory under all limits, and the stalls of the machine or our own cgroup."""
    plant(tmp_path, IN_SLICE | v2(f"{V2_TOP}/a/b", f"{8 * GIB}", 5 * GIB) | files)
    assert read(tmp_path) == Reading(3 * GIB, stall)


def test_this_machine_can_be_read() -> None:
    """The real files make a reading."""
    assert read().available_bytes > 0


async def as_ticks(count: int) -> AsyncIterator[None]:
    """Tick so many times."""
    for _ in range(count):
        yield


async def test_the_watch_tells_changes_only() -> None:
    """One look a tick; the callback hears the ceiling when it is another than before."""
    looks = iter([5000, 5100, 4000, 900, 900])
    told: list[int] = []
    watch = PressureWatch(RULE, lambda: 3000, told.append, lambda: Reading(next(looks)))
    assert watch.ceiling is None
    await watch.run(as_ticks(5))
    assert told == [6800, 5900, 2800]
    assert watch.ceiling == Ceiling(2800)
    assert list(looks) == []


async def test_a_reading_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The watch goes on, and says so once for each time it goes blind."""
    told: list[int] = []
    looks = iter([5000, None, None, 5000, None, 900])

    def look() -> Reading:
        if (available_bytes := next(looks)) is None:
            raise ConfigError("/proc/meminfo has no line 'MemAvailable'")
        return Reading(available_bytes)

    with caplog.at_level(logging.WARNING):
        await PressureWatch(RULE, lambda: 0, told.append, look).run(as_ticks(6))
    assert told == [3800, 0]
    assert (
        caplog.messages
        == ["memory pressure cannot be read: /proc/meminfo has no line 'MemAvailable'"] * 2
    )


async def test_the_clock_ticks_again_and_again() -> None:
    """The first tick comes at once, the others after their time."""
    ticks = every(0)
    for _ in range(3):
        await anext(ticks)
