"""The watch: looks at all workers of a server many times a second, and keeps what was most.

It compares what the workers really hold with the budget. It knows the models by their files.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from soak_box import Box
from soak_proc import Held, held, is_alive, maps, workers_of

INTERVAL_SECONDS = 0.025
SETTLED_SECONDS = 3.0
"""A worker that has mapped no model for so long has the resident one, which it reads instead."""


@dataclass(slots=True)
class Seen:
    """A worker: since when it is known, its model once that shows, and the most that it held."""

    since: float
    model: str | None = None
    anonymous_bytes: int = 0
    locked_bytes: int = 0


@dataclass(slots=True)
class Peaks:
    """What was most, over all samples."""

    samples: int = 0
    torn: int = 0
    """Samples in which a worker ended while the others were being looked at: made again."""
    longest_gap_seconds: float = 0.0
    held_bytes: int = 0
    server_bytes: int = 0
    violations: list[dict[int, Held]] = field(default_factory=list)
    """Samples above the budget: what each worker held."""
    together: set[frozenset[int]] = field(default_factory=set)
    """All sets of workers that were alive at the same time."""


class Watch(threading.Thread):
    """`with Watch(box, pid) as watch`: it samples until the block is left."""

    def __init__(self, box: Box, server_pid: int) -> None:
        """Watch the workers of the server with this process id."""
        super().__init__(name="watch")
        self.peaks = Peaks()
        self.workers: dict[int, Seen] = {}
        self._box = box
        self._server_pid = server_pid
        self._mapped = {model.name for model in box.models if not model.is_resident}
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        """Sample until the watch is over."""
        last = time.monotonic()
        while not self._is_over.wait(INTERVAL_SECONDS):
            sample = self._sample()
            now = time.monotonic()
            self._keep(sample, now - last)
            last = now

    def _sample(self) -> dict[int, Held]:
        """Return what each worker holds, all of them at one moment.

        A worker that has ended since it was looked at may have made room for the next one: the sum
        would be of two moments. What only grows meanwhile does not matter.
        """
        while True:
            sample = {pid: held(pid) for pid in workers_of(self._server_pid)}
            if all(is_alive(pid) for pid in sample):
                return sample
            self.peaks.torn += 1

    def _keep(self, sample: dict[int, Held], gap_seconds: float) -> None:
        peaks = self.peaks
        total_bytes = sum(each.total_bytes for each in sample.values())
        server_bytes = held(self._server_pid).anonymous_bytes
        peaks.samples += 1
        peaks.longest_gap_seconds = max(peaks.longest_gap_seconds, gap_seconds)
        peaks.held_bytes = max(peaks.held_bytes, total_bytes)
        peaks.together.add(frozenset(sample))
        peaks.server_bytes = max(peaks.server_bytes, server_bytes)
        if total_bytes > self._box.budget_bytes:
            peaks.violations.append(sample)
        for pid, holding in sample.items():
            self._recognise(pid, holding)

    def _recognise(self, pid: int, holding: Held) -> None:
        seen = self.workers.setdefault(pid, Seen(time.monotonic()))
        seen.anonymous_bytes = max(seen.anonymous_bytes, holding.anonymous_bytes)
        seen.locked_bytes = max(seen.locked_bytes, holding.locked_bytes)
        if seen.model not in self._mapped:  # "resident" is a guess until another file shows
            seen.model = self._model_of(pid, time.monotonic() - seen.since)

    def _model_of(self, pid: int, age_seconds: float) -> str | None:
        files = {name: self._box.file_of(name) for name in self._mapped}
        mapped = next((name for name, file in files.items() if maps(pid, file)), None)
        if mapped is not None or age_seconds < SETTLED_SECONDS:
            return mapped
        return next((model.name for model in self._box.models if model.is_resident), None)

    def living(self, wanted: Callable[[Seen], bool]) -> list[int]:
        """Return the workers alive now of which `wanted` holds, the youngest first."""
        known = [(pid, seen) for pid, seen in list(self.workers.items()) if wanted(seen)]
        return [pid for pid, _ in reversed(known) if is_alive(pid)]

    def most_charged_bytes(self) -> int:
        """Return the most that workers which were alive together are charged.

        A worker that died before its model showed counts for nothing.
        """
        charges = self._box.charges
        models = {pid: seen.model for pid, seen in self.workers.items()}
        sums = (
            sum(charges[name] for pid in pids if (name := models[pid]) is not None)
            for pids in self.peaks.together
        )
        return max(sums, default=0)

    def most(self, model: str) -> Held:
        """Return the most that any worker of the model has held, of each kind."""
        workers = [seen for seen in self.workers.values() if seen.model == model]
        return Held(
            max((seen.anonymous_bytes for seen in workers), default=0),
            max((seen.locked_bytes for seen in workers), default=0),
        )
