"""A trace: what was decided for one request, step by step, with times.

It knows no other part of the house: parts note facts in it, surfaces print it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Fact: TypeAlias = "str | int | float | bool | list[Fact] | dict[str, Fact] | None"
"""Anything JSON can say."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the path: its name, milliseconds since the request came in, and its facts."""

    name: str
    at_ms: float
    facts: dict[str, Fact]


class Trace:
    """The steps of one request in the order they happened."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start the trace's time now; `clock` gives seconds."""
        self._clock = clock
        self._start = clock()
        self.steps: list[Step] = []

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the request came in."""
        return (self._clock() - self._start) * 1000

    def note(self, step: str, **facts: Fact) -> None:
        """Add a step that has just happened."""
        self.steps.append(Step(step, self.elapsed_ms(), facts))

    def to_json(self) -> list[Fact]:
        """Return the steps as plain values: `{"step", "at_ms", ...facts}` each."""
        return [{"step": s.name, "at_ms": round(s.at_ms, 3), **s.facts} for s in self.steps]
