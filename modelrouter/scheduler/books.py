"""The scheduler's books: what is taken, free, missing and wanted, and which idle models could go.

Questions about the facts; nothing here changes one.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from modelrouter.errors import EngineError, NeverFits, QueueFull
from modelrouter.forecast import ModelState
from modelrouter.memory.plan import fewest, fitting
from modelrouter.memory.sizes import in_words
from modelrouter.scheduler.effects import Needs, Priority, Ticket
from modelrouter.scheduler.room import MOST_FAILURES, Room, rank

STAYING: Final = 4
"""A pin moves on to a model that is so many times busier than the one that has it."""

MOST_URGENT: Final = (-1, 0)
"""Before every ticket: the budget itself has shrunk."""


class Books:
    """All models' rooms under one budget, at one moment."""

    def __init__(
        self,
        models: Mapping[str, Needs],
        budget_bytes: int,
        max_waiting: int,
        patience_seconds: float,
    ) -> None:
        """Begin with nothing loaded. `max_waiting` bounds each model's line, class by class."""
        self.rooms = {name: Room(n, load_seconds=n.load_seconds) for name, n in models.items()}
        self.budget_bytes = budget_bytes
        self.patience_seconds = patience_seconds
        self._max_waiting = max_waiting
        self.now = 0.0

    @property
    def used_bytes(self) -> int:
        """The ledger: what is loaded, loading, pinned, or not yet given back."""
        return sum(room.charged_bytes for room in self.rooms.values())

    def wanted(self) -> list[tuple[str, Room]]:
        """Return the models that should be loaded, the most urgent first; warmed ones come last."""
        wanted = [item for item in self.rooms.items() if item[1].is_wanted(self.now)]
        return sorted(wanted, key=lambda item: self.urgency(item[1]))

    def urgency(self, room: Room) -> tuple[int, int]:
        """Return the place of a room's first ticket among all; without one, behind them all."""
        ranks = (rank(ticket, self.now, self.patience_seconds) for ticket in room.waiting)
        return min(ranks, default=(len(Priority), 0))

    def worth(self, room: Room) -> tuple[float, float]:
        """Return what evicting goes by: the least first."""
        return (room.worth(self.now), room.used_at)

    def idle(self) -> list[str]:
        """Return the models that may be evicted, the least worth first."""
        idle = [item for item in self.rooms.items() if item[1].is_evictable]
        return [name for name, _ in sorted(idle, key=lambda item: self.worth(item[1]))]

    def drainable(self, urgency: tuple[int, int]) -> dict[str, int]:
        """Return the footprints of models at work that may run dry for something so urgent.

        None that a more urgent ticket waits for. Those that do so already come first: the leases
        that end make them seem worth more, and others would begin in their place, for ever.
        """
        at_work = [
            (name, other)
            for name, other in self.rooms.items()
            if other.stands
            and not (other.is_idle or other.needs.is_resident)
            and self.urgency(other) > urgency
        ]
        at_work.sort(key=lambda item: (not item[1].is_draining, self.worth(item[1])))
        return {name: other.needs.footprint_bytes for name, other in at_work}

    def pinnable(self) -> dict[str, int]:
        """Return what each loaded model could pin, who should have it first in front.

        Moving a pin means reading gigabytes again, so it moves to a much busier model only.
        """
        ready = [name for name, room in self.rooms.items() if room.state is ModelState.READY]
        order: list[str] = []
        for name in sorted(ready, key=lambda name: self.rooms[name].pin_place):
            place = len(order)
            while place and self._pins_before(name, order[place - 1]):
                place -= 1
            order.insert(place, name)
        return {name: self.rooms[name].pinnable_bytes for name in order}

    def _pins_before(self, model: str, other: str) -> bool:
        staying = STAYING if self.rooms[other].pin_target_bytes else 1
        return self.rooms[model].heat_at(self.now) > staying * self.rooms[other].heat_at(self.now)

    def footprints(self, models: Iterable[str]) -> int:
        """Return the bytes of all of them."""
        return sum(self.rooms[name].needs.footprint_bytes for name in models)

    def victims(self, missing_bytes: int) -> list[str]:
        """Return idle models to unload for what is missing; all where that is too little."""
        idle = {name: self.rooms[name].needs.footprint_bytes for name in self.idle()}
        return fewest(missing_bytes, idle)

    def missing_bytes(self, footprint_bytes: int) -> int:
        """Return what lacks for a footprint once all that is being unloaded or pinned is gone."""
        standing = self.footprints(name for name, room in self.rooms.items() if room.stands)
        return standing + footprint_bytes - self.budget_bytes

    def missing_bytes_for(self, model: str) -> int:
        """Return what lacks for a wanted model and all that must be loaded before it.

        That may be a model that is just being unloaded and that a more urgent ticket wants back.
        """
        mine = self.urgency(self.rooms[model])
        before = [
            room
            for name, room in self.rooms.items()
            if name != model
            and (room.state is ModelState.UNLOADING or room.is_wanted(self.now))
            and self.urgency(room) < mine
        ]
        footprints = (r.needs.footprint_bytes for r in (self.rooms[model], *before))
        return self.missing_bytes(sum(footprints))

    def claimed_bytes(self) -> int:
        """Return what wanted models need that can be loaded as soon as others have let go."""
        claimed_bytes = 0
        for name, room in self.wanted():
            if self.missing_bytes_for(name) > 0:
                break
            claimed_bytes += room.needs.footprint_bytes
        return claimed_bytes

    def promised(self) -> dict[str, int]:
        """Return the residents' room, theirs for good: of those that are loaded, whatever became of
        the budget, then of those that fit beside them, in the order of the file.
        """
        residents = {n: r for n, r in self.rooms.items() if r.needs.is_resident}
        there = {n: r.needs.footprint_bytes for n, r in residents.items() if r.stands}
        others = {n: r.needs.footprint_bytes for n, r in residents.items() if not r.stands}
        return there | fitting(self.budget_bytes - sum(there.values()), others)

    def never_fits(self, model: str) -> NeverFits | None:
        """Return why the model can never be loaded, or None."""
        residents = self.promised()
        need = self.rooms[model].needs.footprint_bytes
        promised = sum(size for name, size in residents.items() if name != model)
        if model in residents or need + promised <= self.budget_bytes:
            return None
        shared = f", of which resident models have {in_words(promised)}" if promised else ""
        return NeverFits(
            f"{model} needs {in_words(need)}; the budget is {in_words(self.budget_bytes)}{shared}",
            hint="lower its `context` or `slots`, use a smaller quantization, or raise budget.ram",
        )

    def has_failed(self, model: str) -> EngineError | None:
        """Return why the model is left alone, or None."""
        room = self.rooms[model]
        if room.state is not ModelState.FAILED or room.problem is None:
            return None
        last_words = room.problem.message
        return EngineError(
            f"{model} failed {MOST_FAILURES} times in a row and is left alone: {last_words}",
            hint=f"see to it, then: modelrouter models load {model}",
        )

    def line_is_full(self, ticket: Ticket) -> QueueFull | None:
        """Return why nobody of the ticket's class may join the line, or None.

        Each class has room of its own: side jobs that pile up keep no editor out.
        """
        alike = [t for t in self.rooms[ticket.model].waiting if t.priority is ticket.priority]
        if len(alike) < self._max_waiting:
            return None
        return QueueFull(
            f"{len(alike)} {ticket.priority.name.lower()} requests wait for {ticket.model} already",
            hint="try again later, or raise `server.max_waiting`",
        )

    def waits_for_others(self, model: str, place: int) -> str | None:
        """Return which requests must end before the one at `place` (0: the first) in the line gets
        a slot; None where a load is all that it waits for.
        """
        room = self.rooms[model]
        slots = room.needs.slots
        if room.state is ModelState.READY and not room.grants:
            return "takes no more requests: it is to be unloaded"
        if room.state is ModelState.READY:
            return f"is busy: {len(room.leases)} of {slots} slots taken"
        if place >= slots:
            return f"is not loaded yet, and {place} requests wait for its {slots} slots"
        if room.stands or self.missing_bytes_for(model) <= self.footprints(self.idle()):
            return None
        need, budget = in_words(room.needs.footprint_bytes), in_words(self.budget_bytes)
        return f"needs {need}; other requests have or wait for too much of the {budget}"
