"""The books that the scheduler's core is checked against: who has, wants and holds what.

Kept by `box.py` from events and effects alone; the core's own books are not looked at. Questions
about what is so; what the answers should be is the matter of the checks.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from modelrouter.errors import ModelRouterError
from modelrouter.scheduler.effects import Needs, Priority, Ticket
from modelrouter.scheduler.room import MOST_FAILURES

PATIENCE = 8
MAX_WAITING = 3
"""Of each class."""


class Worker(Enum):
    """What really runs for a model."""

    NONE = auto()
    LOADING = auto()
    LOADED = auto()
    ENDING = auto()
    ENDING_LOAD = auto()
    """A load that was given up: its own end may still be reported before the worker's."""


ENDING = {Worker.ENDING, Worker.ENDING_LOAD}
STANDING = {Worker.LOADING, Worker.LOADED}


@dataclass
class Pins:
    """What a worker has pinned, was told to pin, and has not answered yet."""

    real: int = 0
    held: int = 0
    """What the worker may have pinned at this moment, as far as anybody outside can know."""
    target: int = 0
    allowed: int | None = None
    """What the system lets it pin, once that was seen to be less than it was told."""
    unanswered: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Model:
    """One model's page in the books; `place` is where it stands in the file."""

    name: str
    place: int
    needs: Needs
    worker: Worker = Worker.NONE
    pins: Pins = field(default_factory=Pins)
    line: list[Ticket] = field(default_factory=list)
    holders: set[int] = field(default_factory=set)
    is_warm: bool = False
    is_dismissed: bool = False
    failures: int = 0
    retry_at: int = 0

    @property
    def size(self) -> int:
        """Its footprint."""
        return self.needs.footprint_bytes

    @property
    def stands(self) -> bool:
        """True where its worker is to stay."""
        return self.worker in STANDING

    @property
    def has_failed(self) -> bool:
        """True where it is left alone."""
        return self.failures >= MOST_FAILURES

    def has_full_line(self, priority: Priority) -> bool:
        """True where nobody of this class may join."""
        return sum(ticket.priority is priority for ticket in self.line) >= MAX_WAITING

    @property
    def pinnable(self) -> int:
        """What it could pin now."""
        if self.worker is not Worker.LOADED:
            return 0
        allowed, most = self.pins.allowed, self.needs.pinnable_bytes
        return most if allowed is None else min(allowed, most)

    def fail(self, now: int) -> None:
        """Note a failed load or a death: at once again, then after 1, 2, 4 ... seconds."""
        self.failures += 1
        self.retry_at = now + (2 ** (self.failures - 2) if self.failures > 1 else 0)
        self.end()
        self.is_warm &= not self.has_failed

    def end(self) -> None:
        """Note that its worker is gone, and what it had with it."""
        self.worker, self.pins = Worker.NONE, Pins()
        self.holders.clear()
        self.is_dismissed = False


class BoxBooks:
    """All models' pages, the budget and the clock."""

    def __init__(self, models: dict[str, Needs], budget: int) -> None:
        """Begin with nothing loaded, at time 0."""
        self.models = {n: Model(n, place, needs) for place, (n, needs) in enumerate(models.items())}
        self.budget = budget
        self.ceiling: int | None = None
        self.now = 0
        self.ids = 0
        self.refused: dict[int, ModelRouterError] = {}

    @property
    def waiting(self) -> dict[int, Ticket]:
        """All who wait, by id."""
        return {ticket.id: ticket for model in self.models.values() for ticket in model.line}

    @property
    def leased(self) -> list[int]:
        """All who hold a slot, the oldest first."""
        return sorted(ticket for model in self.models.values() for ticket in model.holders)

    @property
    def charged(self) -> int:
        """The bytes of all workers that are not gone, and of all they may have pinned."""
        alive = [m for m in self.models.values() if m.worker is not Worker.NONE]
        return sum(model.size + model.pins.held for model in alive)

    def standing(self) -> int:
        """The bytes of all models that are to stay, without pins."""
        return sum(model.size for model in self.models.values() if model.stands)

    def rank(self, ticket: Ticket) -> tuple[int, int]:
        """Return a ticket's place among all."""
        return (0 if self.is_impatient(ticket) else int(ticket.priority), ticket.id)

    def is_impatient(self, ticket: Ticket) -> bool:
        """Tell whether a ticket has waited for as long as is fair."""
        return self.now - ticket.since >= PATIENCE

    def urgency(self, model: Model) -> tuple[int, int]:
        """Return the place of the first in a model's line."""
        return min(map(self.rank, model.line), default=(len(Priority), 0))

    def promised(self) -> set[str]:
        """Return the residents that have their room: who is there, then in the file's order."""
        residents = [m for m in self.models.values() if m.needs.is_resident]
        found = [m for m in residents if m.stands]
        for model in residents:
            if not model.stands and sum(m.size for m in found) + model.size <= self.budget:
                found.append(model)
        return {model.name for model in found}

    def fits(self, model: Model) -> bool:
        """Tell whether a model can be loaded beside all residents."""
        promised = self.promised()
        others = sum(self.models[name].size for name in promised - {model.name})
        return model.name in promised or others + model.size <= self.budget

    def unserved(self) -> list[Model]:
        """The models to be loaded next, the most urgent first."""
        wanted = [
            m
            for m in self.models.values()
            if m.worker is Worker.NONE and (m.line or m.is_warm) and self.now >= m.retry_at
        ]
        return sorted(wanted, key=lambda m: (self.urgency(m), m.place))

    def lacking(self, model: Model) -> int:
        """Return the bytes that a model lacks once all that is leaving or pinned is gone.

        What more urgent tickets want is not there for it, be it loaded next or just leaving.
        """
        mine, wanted = self.urgency(model), self.unserved()
        before = [
            m.size
            for m in self.models.values()
            if (m in wanted or m.worker in ENDING) and self.urgency(m) < mine
        ]
        return self.standing() + model.size + sum(before) - self.budget

    def idle(self) -> int:
        """Return the bytes of models that nobody uses, waits for, or promised to keep."""
        return sum(
            m.size
            for m in self.models.values()
            if m.stands and not (m.holders or m.line or m.needs.is_resident)
        )

    def drains(self, model: Model) -> bool:
        """Tell whether a model at work may have to give way: to a budget that shrank, or to someone
        who has waited too long.

        That is the first for whom idle models do not suffice, where less urgent ones would.
        """
        if self.standing() - self.idle() > self.budget:
            return not model.needs.is_resident
        lacking = [m for m in self.unserved() if self.lacking(m) > self.idle()]
        if not lacking or not any(map(self.is_impatient, lacking[0].line)):
            return False
        mine = self.urgency(lacking[0])
        others = [m for m in self.models.values() if m.stands and not m.needs.is_resident]
        less_urgent = [m for m in others if self.urgency(m) > mine]
        return model in less_urgent and sum(m.size for m in less_urgent) >= self.lacking(lacking[0])
