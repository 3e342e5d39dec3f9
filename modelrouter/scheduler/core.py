"""The scheduler's decisions: which model is loaded, evicted, leased; who waits and who is refused.

Pure: events come in as method calls, effects go out as values. No asyncio, no clock, no process;
the caller says what time it is, carries effects out and reports back. `design.md` beside this file
has the theory of operation.

Rule for editors: every event changes the facts first and then ends in `_settle`, the only decision
tree. A state changes when something is decided, not when it has been done.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from modelrouter.errors import DeadlineExceeded, ModelRouterError, SlotsBusy
from modelrouter.forecast import ModelState
from modelrouter.memory.plan import fewest, share_pins
from modelrouter.scheduler.books import MOST_URGENT, Books
from modelrouter.scheduler.effects import Effect, Grant, Load, Needs, Pin, Refuse, Ticket, Unload
from modelrouter.scheduler.room import Room, is_impatient

PATIENCE_SECONDS: Final = 30.0
"""Who has waited so long for a model's memory or slot goes before those of higher priority, and
models at work take no new requests until there is room for the one that is waited for.
"""


class Core(Books):
    """All models' states, queues and leases under one budget.

    Times are seconds of one clock, the caller's, that never goes back.
    """

    def __init__(
        self,
        models: Mapping[str, Needs],
        budget_bytes: int,
        max_waiting: int,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Begin with nothing loaded. `max_waiting` bounds each model's line, class by class."""
        super().__init__(models, budget_bytes, max_waiting, patience_seconds)
        self._pin_ceiling_bytes: int | None = None

    # ── events ────────────────────────────────────────────────────────────────────────────────────

    def arrived(self, ticket: Ticket) -> list[Effect]:
        """A request wants a slot; it is refused where it can never have one or the line is full."""
        self.now = ticket.since
        room = self.rooms[ticket.model]
        hopeless = self.never_fits(ticket.model) or self.has_failed(ticket.model)
        if refusal := hopeless or self.line_is_full(ticket):
            return [Refuse(ticket.id, refusal), *self._settle()]
        room.waiting.append(ticket)
        return self._settle()

    def left(self, ticket_id: int, now: float, *, has_answer: bool = False) -> list[Effect]:
        """A request is over, wherever it was: its caller went away, or it has its answer."""
        self.now = now
        for room in self.rooms.values():
            if ticket_id in room.leases:
                room.leases.remove(ticket_id)
                room.used(now)
                if has_answer:
                    room.healed()
            room.waiting = [ticket for ticket in room.waiting if ticket.id != ticket_id]
        return self._settle()

    def warmed(self, model: str, now: float) -> list[Effect]:
        """The model should be loaded before anybody asks; one that has failed is tried again."""
        self.now = now
        room = self.rooms[model]
        room.healed()
        room.is_warmed, room.is_dismissed = True, False
        return self._settle()

    def dismissed(self, model: str, now: float) -> list[Effect]:
        """A person wants the model out, resident or not: it goes once nobody uses it."""
        self.now = now
        room = self.rooms[model]
        room.is_warmed, room.is_dismissed = False, room.stands
        return self._settle()

    def loaded(self, model: str, now: float) -> list[Effect]:
        """A load is done. One that was given up meanwhile stays so."""
        self.now = now
        room = self.rooms[model]
        if room.state is ModelState.LOADING:
            room.state = ModelState.READY
            room.load_seconds = now - room.load_began
        return self._settle()

    def load_failed(self, model: str, error: ModelRouterError, now: float) -> list[Effect]:
        """A load did not work: all who waited are told. The next who asks starts a new one.

        One that was given up meanwhile stays so: who waits now waits for the load after it.
        """
        self.now = now
        room = self.rooms[model]
        if room.state is not ModelState.LOADING:
            return self._settle()
        room.failed(error, now)
        return _turn_away(room, error) + self._settle()

    def unloaded(self, model: str, now: float) -> list[Effect]:
        """The worker has ended by our wish, and its memory is back."""
        self.now = now
        self.rooms[model].state = ModelState.UNLOADED
        self.rooms[model].empty()
        return self._settle()

    def died(self, model: str, error: ModelRouterError, now: float) -> list[Effect]:
        """The worker has ended by its own fault, and its memory is back.

        Leases end with it: their holders hear of the death from their streams, and `left` follows.
        """
        self.now = now
        self.rooms[model].failed(error, now)
        return self._settle()

    def pinned(self, model: str, size_bytes: int, now: float) -> list[Effect]:
        """The worker is done with the oldest Pin that it has not answered, and has so much pinned.

        Less than it was told means that the system lets it have no more.
        """
        self.now = now
        room = self.rooms[model]
        if room.state is ModelState.READY:
            room.has_pinned(size_bytes)
        return self._settle()

    def budget_changed(self, budget_bytes: int, now: float) -> list[Effect]:
        """There is more or less memory than before."""
        self.now = now
        self.budget_bytes = budget_bytes
        return self._settle()

    def pin_ceiling_changed(self, ceiling_bytes: int | None, now: float) -> list[Effect]:
        """The box is short of memory: all pins together may have so much; None takes that back."""
        self.now = now
        self._pin_ceiling_bytes = ceiling_bytes
        return self._settle()

    def ticked(self, now: float) -> list[Effect]:
        """Nothing happened but that time went by."""
        self.now = now
        return self._settle()

    def next_wake(self) -> float | None:
        """Return when time alone will change something, None where it will not."""
        moments = [
            moment
            for room in self.rooms.values()
            for ticket in room.waiting
            for moment in (ticket.deadline, ticket.since + self.patience_seconds)
            if moment is not None
        ]
        moments += [room.retry_at for room in self.rooms.values() if room.waiting or room.is_warmed]
        return min((moment for moment in moments if moment > self.now), default=None)

    # ── the decision tree ─────────────────────────────────────────────────────────────────────────

    def _settle(self) -> list[Effect]:
        """Decide all that can be decided now; what a decision changes is decided anew.

        What nobody has or wants in the end is pinned.
        """
        effects = self._decide()
        return [*effects, *self._settle()] if effects else self._share_pins()

    def _decide(self) -> list[Effect]:
        """Go through all decisions once.

        1. Who waits for what can never be had (too late, too large, broken) is refused.
        2. A ready model's free slots go to those who wait for it: by priority, then by age.
        3. What a person sent away is unloaded, and what is over the budget and idle.
        4. Models that are wanted and not loaded get room, the most urgent first; pins give way.
        5. Who may wait for nothing but a load, and would wait for other requests, is refused.
        """
        effects: list[Effect] = [*self._refuse_late(), *self._refuse_hopeless()]
        self._mark_draining()
        effects += [grant for name, room in self.rooms.items() for grant in self._grant(name, room)]
        effects += self._unload(n for n, r in self.rooms.items() if r.is_dismissed and not r.leases)
        effects += self._unload(self.victims(self.missing_bytes(0)))
        return effects + self._make_room() + self._refuse_hurried()

    def _grant(self, model: str, room: Room) -> Iterator[Grant]:
        for ticket in room.line(self.now, self.patience_seconds):
            if room.free_slots and room.grants:
                room.waiting.remove(ticket)
                room.leases.add(ticket.id)
                room.used(self.now)
                yield Grant(ticket.id, model)

    def _mark_draining(self) -> None:
        """Let models at work run dry that the budget, or somebody impatient, wants out."""
        chosen = self._to_drain()
        for name, room in self.rooms.items():
            room.is_draining = name in chosen

    def _to_drain(self) -> list[str]:
        """Return models to run dry: for a budget that shrank, all that it takes; then those that
        will do for the first who lacks memory, none in vain.
        """
        idle_bytes = self.footprints(name for name, room in self.rooms.items() if room.is_idle)
        if (over_bytes := self.missing_bytes(0) - idle_bytes) > 0:
            return fewest(over_bytes, self.drainable(MOST_URGENT))
        for name, room in self.wanted():
            missing_bytes = self.missing_bytes_for(name) - idle_bytes
            if missing_bytes > 0:
                if not any(is_impatient(t, self.now, self.patience_seconds) for t in room.waiting):
                    return []
                chosen = fewest(missing_bytes, self.drainable(self.urgency(room)))
                return chosen if self.footprints(chosen) >= missing_bytes else []
        return []

    def _make_room(self) -> list[Effect]:
        """Give wanted models room: what is free or pinned, what is being freed, idle models' room.

        One that cannot have room yet keeps the others from taking what it waits for.
        """
        effects: list[Effect] = []
        for name, room in self.wanted():
            missing_bytes = self.missing_bytes_for(name)
            if missing_bytes > 0:
                victims = self.victims(missing_bytes)
                if self.footprints(victims) >= missing_bytes:
                    effects += self._unload(victims)
                break
            if self.used_bytes + room.needs.footprint_bytes > self.budget_bytes:
                break  # it is there, but pins or a worker that is leaving still hold it
            room.state, room.load_began = ModelState.LOADING, self.now
            effects.append(Load(name))
        return effects

    def _share_pins(self) -> list[Effect]:
        """Pin what is left; less than before at once, and never what a load is waiting for.

        Room for one model's pin may still be held by another's, which has yet to let go of it, or
        by a worker that is leaving.
        """
        spare_bytes = self.budget_bytes - self.used_bytes
        effects: list[Effect] = []
        shares = share_pins(self._pins_bytes(), self.pinnable())
        for place, (name, most_bytes) in enumerate(shares.items()):
            room = self.rooms[name]
            room.pin_place = place
            size_bytes = min(most_bytes, room.pin_held_bytes + max(0, spare_bytes))
            if size_bytes != room.pin_target_bytes:
                spare_bytes -= max(0, size_bytes - room.pin_held_bytes)
                room.told_to_pin(size_bytes)
                effects.append(Pin(name, size_bytes))
        return effects

    def _pins_bytes(self) -> int:
        """Return what all pins together may have."""
        free_bytes = -self.missing_bytes(self.claimed_bytes())
        ceiling_bytes = self._pin_ceiling_bytes
        return free_bytes if ceiling_bytes is None else min(free_bytes, ceiling_bytes)

    def _unload(self, models: Iterable[str]) -> list[Effect]:
        effects: list[Effect] = []
        for name in models:
            room = self.rooms[name]
            if room.stands:
                room.state = ModelState.UNLOADING
                room.is_warmed = False  # or it came back at once and evicted others in its turn
                effects.append(Unload(name))
        return effects

    # ── refusals ──────────────────────────────────────────────────────────────────────────────────

    def _refuse_late(self) -> Iterator[Refuse]:
        for name, room in self.rooms.items():
            for ticket in list(room.waiting):
                if ticket.deadline is not None and ticket.deadline <= self.now:
                    room.waiting.remove(ticket)
                    waited = ticket.deadline - ticket.since
                    message = f"no slot of {name} was free within {waited:g} s"
                    yield Refuse(ticket.id, DeadlineExceeded(message))

    def _refuse_hopeless(self) -> Iterator[Refuse]:
        for name, room in self.rooms.items():
            why = None if room.stands else self.never_fits(name) or self.has_failed(name)
            if why is not None:
                yield from _turn_away(room, why)

    def _refuse_hurried(self) -> list[Effect]:
        refused: list[Effect] = []
        for name, room in self.rooms.items():
            for place, ticket in enumerate(room.line(self.now, self.patience_seconds)):
                if not ticket.may_wait and (why := self.waits_for_others(name, place)):
                    room.waiting.remove(ticket)
                    refused.append(Refuse(ticket.id, SlotsBusy(f"{name} {why}")))
        return refused


def _turn_away(room: Room, error: ModelRouterError) -> list[Refuse]:
    """End all wishes for a model."""
    refused = [Refuse(ticket.id, error) for ticket in room.waiting]
    room.waiting.clear()
    room.is_warmed = False
    return refused
