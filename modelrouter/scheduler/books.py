"""The scheduler's books: what is taken, free, missing and wanted, and which idle models could go.

Questions about the facts; nothing here changes one.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from modelrouter.errors import NeverFits
from modelrouter.memory.plan import fewest, fitting
from modelrouter.scheduler.effects import Needs, Priority
from modelrouter.scheduler.room import Room, rank
from modelrouter.types import ModelState

STAYING: Final = 4
"""A pin moves on to a model that is so many times busier than the one that has it."""


class Books:
    """All models' rooms under one budget, at one moment."""

    def __init__(
        self, models: Mapping[str, Needs], budget_bytes: int, patience_seconds: float
    ) -> None:
        """Begin with nothing loaded."""
        self.rooms = {name: Room(n, load_seconds=n.load_seconds) for name, n in models.items()}
        self.budget_bytes = budget_bytes
        self.patience_seconds = patience_seconds
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

    def at_work(self) -> dict[str, int]:
        """Return the footprints of models that could be evicted if nobody used them, the least
        worth first.
        """
        return {
            name: room.needs.footprint_bytes
            for name, room in sorted(self.rooms.items(), key=lambda item: self.worth(item[1]))
            if room.stands and not room.is_evictable and not room.needs.is_resident
        }

    def pinnable(self) -> dict[str, int]:
        """Return what each loaded model could pin, who should have it first in front.

        Moving a pin means reading gigabytes again, so it moves to a much busier model only.
        """
        ready = [item for item in self.rooms.items() if item[1].state is ModelState.READY]
        ready.sort(
            key=lambda item: (
                -item[1].heat_at(self.now) * (STAYING if item[1].pin_target_bytes else 1)
            )
        )
        return {name: room.pinnable_bytes for name, room in ready}

    def footprints(self, models: Iterable[str]) -> int:
        """Return the bytes of all of them."""
        return sum(self.rooms[name].needs.footprint_bytes for name in models)

    def victims(self, missing_bytes: int) -> list[str]:
        """Return idle models to unload for what is missing; all where that is too little."""
        idle = {name: self.rooms[name].needs.footprint_bytes for name in self.idle()}
        return fewest(missing_bytes, idle)

    def missing_bytes(self, footprint_bytes: int) -> int:
        """Return what lacks for a footprint once all that is being unloaded or pinned is gone."""
        standing = sum(r.needs.footprint_bytes for r in self.rooms.values() if r.stands)
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

    def never_fits(self, model: str) -> NeverFits | None:
        """Return why the model can never be loaded, or None. Residents' room is theirs for good."""
        residents = {
            n: r.needs.footprint_bytes for n, r in self.rooms.items() if r.needs.is_resident
        }
        standing = fitting(self.budget_bytes, residents)
        need = self.rooms[model].needs.footprint_bytes
        promised = sum(size for name, size in standing.items() if name != model)
        if model in standing or need + promised <= self.budget_bytes:
            return None
        shared = f", of which resident models have {gib(promised)}" if promised else ""
        return NeverFits(
            f"{model} needs {gib(need)}; the budget is {gib(self.budget_bytes)}{shared}",
            hint="lower its `context` or `slots`, use a smaller quantization, or raise budget.ram",
        )


def gib(size_bytes: int) -> str:
    """Return a size as messages say it."""
    return f"{size_bytes / 2**30:.2f} GiB"
