"""A model's room in the scheduler's house: its state, its line, its leases, its worth.

Facts and what follows from them; it decides nothing and knows no other room.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Final

from modelrouter.errors import ModelRouterError
from modelrouter.forecast import ModelState
from modelrouter.scheduler.effects import Needs, Priority, Ticket

HALF_LIFE_SECONDS: Final = 600.0
"""A use counts half as much after so long: how likely another one is."""

FIRST_BACK_OFF_SECONDS: Final = 1.0
MOST_FAILURES: Final = 4
"""Loads that fail, or workers that die before any answer was whole, in a row."""


@dataclass(slots=True)
class Room:
    """A model's place in the house."""

    needs: Needs
    state: ModelState = ModelState.UNLOADED
    waiting: list[Ticket] = field(default_factory=list)
    leases: set[int] = field(default_factory=set)
    is_warmed: bool = False
    """Asked for without a ticket, at start or by a person."""
    is_dismissed: bool = False
    """To be unloaded as soon as nobody uses it, because a person said so."""
    is_draining: bool = False
    """Grants nothing more: the budget, or somebody who has waited too long, wants its memory."""

    pin_target_bytes: int = 0
    pin_held_bytes: int = 0
    """What the worker may have pinned at this moment: never less than it really has."""
    pin_most_bytes: int | None = None
    """What the system lets this worker pin, once it was found to be less than asked."""
    pins_unanswered: int = 0
    pin_place: float = inf
    """Who pins first has the lowest; it keeps its place while others come and go."""

    load_began: float = 0.0
    load_seconds: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    problem: ModelRouterError | None = None
    heat: float = 0.0
    used_at: float = 0.0

    @property
    def charged_bytes(self) -> int:
        """What it takes of the budget, from the decision to load to the last byte given back."""
        is_out = self.state in {ModelState.UNLOADED, ModelState.FAILED}
        return 0 if is_out else self.needs.footprint_bytes + self.pin_held_bytes

    @property
    def free_slots(self) -> int:
        """Slots that could be granted now, if it grants any."""
        return self.needs.slots - len(self.leases) if self.state is ModelState.READY else 0

    @property
    def grants(self) -> bool:
        """True where who waits may have its free slots."""
        return not (self.is_draining or self.is_dismissed)

    @property
    def stands(self) -> bool:
        """True where its memory is taken and stays taken."""
        return self.state in {ModelState.READY, ModelState.LOADING}

    @property
    def is_idle(self) -> bool:
        """True where nobody uses it or waits for it, and it was not promised to stay."""
        return self.stands and not (self.leases or self.waiting or self.needs.is_resident)

    @property
    def is_evictable(self) -> bool:
        """True where it is idle, or has run dry for whoever wants its memory."""
        return self.is_idle or (self.stands and self.is_draining and not self.leases)

    @property
    def pinnable_bytes(self) -> int:
        """What it could pin now."""
        if self.state is not ModelState.READY:
            return 0
        most = self.needs.pinnable_bytes
        return most if self.pin_most_bytes is None else min(most, self.pin_most_bytes)

    def is_wanted(self, now: float) -> bool:
        """True where it should be loaded, and may be tried."""
        is_asked_for = bool(self.waiting or self.is_warmed)
        return self.state is ModelState.UNLOADED and is_asked_for and now >= self.retry_at

    def line(self, now: float, patience_seconds: float) -> list[Ticket]:
        """Return who waits, in the order in which they are served."""
        return sorted(self.waiting, key=lambda ticket: rank(ticket, now, patience_seconds))

    def used(self, now: float) -> None:
        """Note that a request came, or that one ended."""
        self.heat = self.heat_at(now) + 1
        self.used_at = now

    def heat_at(self, now: float) -> float:
        """Return how often it was used of late: every use, halved with each half-life since."""
        return float(self.heat * 2 ** (-(now - self.used_at) / HALF_LIFE_SECONDS))

    def worth(self, now: float) -> float:
        """Return the seconds that a byte of it is likely to save: what eviction goes by."""
        likely_seconds = self.load_seconds * self.heat_at(now)
        return likely_seconds / max(1, self.needs.footprint_bytes)

    def told_to_pin(self, size_bytes: int) -> None:
        """Note a new goal; until it is answered the worker may have as much as before."""
        self.pin_target_bytes = size_bytes
        self.pin_held_bytes = max(self.pin_held_bytes, size_bytes)
        self.pins_unanswered += 1

    def has_pinned(self, size_bytes: int) -> None:
        """Take a goal's answer in; only that to the last goal tells what the worker is left with.

        An earlier goal's may even be of as many bytes, and others after it on their way.
        """
        self.pins_unanswered -= 1
        if self.pins_unanswered == 0:
            self.pin_held_bytes = size_bytes
            if size_bytes < self.pin_target_bytes:
                self.pin_most_bytes = self.pin_target_bytes = size_bytes

    def failed(self, error: ModelRouterError, now: float) -> None:
        """Take a failed load or a death in: at once again, then later and later, then no more."""
        self.failures += 1
        self.problem = error
        waits = self.failures - 1
        self.retry_at = now + FIRST_BACK_OFF_SECONDS * 2 ** (waits - 1) if waits else now
        is_hopeless = self.failures >= MOST_FAILURES
        self.state = ModelState.FAILED if is_hopeless else ModelState.UNLOADED
        self.empty()

    def empty(self) -> None:
        """Forget what was true of the worker that is no more."""
        self.leases.clear()
        self.pin_target_bytes = self.pin_held_bytes = self.pins_unanswered = 0
        self.pin_most_bytes, self.pin_place = None, inf
        self.is_draining = self.is_dismissed = False

    def healed(self) -> None:
        """Forget its failures."""
        self.failures = 0
        self.retry_at = 0.0
        self.problem = None
        if self.state is ModelState.FAILED:
            self.state = ModelState.UNLOADED


def rank(ticket: Ticket, now: float, patience_seconds: float) -> tuple[int, int]:
    """Return a ticket's place: by priority, then by age; who has waited for long is in a hurry."""
    is_hurried = is_impatient(ticket, now, patience_seconds)
    return (Priority.INTERACTIVE if is_hurried else ticket.priority, ticket.id)


def is_impatient(ticket: Ticket, now: float, patience_seconds: float) -> bool:
    """Tell whether a ticket has waited for longer than is fair."""
    return ticket.since + patience_seconds <= now
