"""A scheduler's core moved by hand: events happen now, or so many seconds `later`; sizes in GiB.

It knows the core's events and nothing of what should come of them.
"""

from typing import Any

from modelrouter.errors import ModelRouterError, WorkerDied
from modelrouter.scheduler.core import Core
from modelrouter.scheduler.effects import Effect, Grant, Load, Needs, Pin, Refuse, Ticket
from modelrouter.scheduler.room import Room

GIB = 2**30
PATIENCE = 30


def needs(
    size: float = 10,
    *,
    slots: int = 1,
    is_resident: bool = False,
    pinnable: float = 0,
    load_seconds: float = 1.0,
) -> Needs:
    """Return a model's needs, 10 GiB and one slot unless told otherwise."""
    return Needs(int(size * GIB), slots, is_resident, int(pinnable * GIB), load_seconds)


class ByHand:
    """A core with a clock that moves only with events."""

    def __init__(self, budget: float = 10, max_waiting: int = 8, **models: Needs) -> None:
        """Begin at time 0 with nothing loaded."""
        self.core = Core(models, int(budget * GIB), max_waiting, PATIENCE)
        self.now = 0.0

    def _at(self, later: float) -> float:
        self.now += later
        return self.now

    def room(self, model: str) -> Room:
        """Return what the core knows of a model."""
        return self.core.rooms[model]

    def used(self) -> float:
        """Return what of the budget is taken."""
        return self.core.used_bytes / GIB

    def arrived(
        self,
        ticket: int,
        model: str,
        *,
        later: float = 0,
        seconds: float | None = None,
        **wish: Any,
    ) -> list[Effect]:
        """Let a ticket come that is worth waiting `seconds` for."""
        since = self._at(later)
        deadline = None if seconds is None else since + seconds
        return self.core.arrived(Ticket(ticket, model, since, deadline=deadline, **wish))

    def left(self, ticket: int, later: float = 0, *, has_answer: bool = True) -> list[Effect]:
        """Let a ticket go, with its answer unless told otherwise."""
        return self.core.left(ticket, self._at(later), has_answer=has_answer)

    def loaded(self, model: str, later: float = 0) -> list[Effect]:
        """Let a load end well."""
        return self.core.loaded(model, self._at(later))

    def load_failed(self, model: str, error: ModelRouterError, later: float = 0) -> list[Effect]:
        """Let a load fail."""
        return self.core.load_failed(model, error, self._at(later))

    def unloaded(self, model: str, later: float = 0) -> list[Effect]:
        """Let a worker have ended as it was told."""
        return self.core.unloaded(model, self._at(later))

    def died(self, model: str, words: str = "out of memory", later: float = 0) -> list[Effect]:
        """Let a worker die."""
        return self.core.died(model, WorkerDied(words), self._at(later))

    def warmed(self, model: str, later: float = 0) -> list[Effect]:
        """Let a person want a model loaded."""
        return self.core.warmed(model, self._at(later))

    def dismissed(self, model: str, later: float = 0) -> list[Effect]:
        """Let a person want a model unloaded."""
        return self.core.dismissed(model, self._at(later))

    def pinned(self, model: str, size: float) -> list[Effect]:
        """Let a worker answer its oldest Pin."""
        return self.core.pinned(model, int(size * GIB), self.now)

    def budget(self, size: float) -> list[Effect]:
        """Let there be more or less memory."""
        return self.core.budget_changed(int(size * GIB), self.now)

    def ceiling(self, size: float | None) -> list[Effect]:
        """Let the box be short of memory for pins, or no more."""
        ceiling_bytes = None if size is None else int(size * GIB)
        return self.core.pin_ceiling_changed(ceiling_bytes, self.now)

    def ticked(self, later: float = 0) -> list[Effect]:
        """Let time go by."""
        return self.core.ticked(self._at(later))

    def ready(self, model: str, ticket: int, seconds: float = 1) -> None:
        """Load the model by a ticket that needs no eviction, and let the ticket leave again."""
        self.at_work(model, ticket, seconds)
        self.left(ticket)

    def at_work(self, model: str, ticket: int, seconds: float = 1) -> None:
        """Load the model by a ticket that needs no eviction, and let it hold its slot."""
        assert Load(model) in self.arrived(ticket, model)
        assert Grant(ticket, model) in self.loaded(model, later=seconds)


def pin(model: str, size: float) -> Pin:
    """Return the effect that lets a model pin so much."""
    return Pin(model, int(size * GIB))


def the_refusal(effects: list[Effect]) -> ModelRouterError:
    """Return the error of the only effect."""
    (effect,) = effects
    assert isinstance(effect, Refuse)
    return effect.error
