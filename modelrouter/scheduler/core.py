"""The scheduler's decisions: which model is loaded, evicted, leased; who waits and who is refused.

Pure: events come in as method calls, effects go out as values. No asyncio, no clock, no process;
the caller carries effects out and reports back. `design.md` beside this file has the theory of
operation.

Rule for editors: every event changes the facts first and then ends in `_settle`, the only decision
tree. A state changes when something is decided, not when it has been done.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from modelrouter.errors import ModelRouterError, NeverFits, QueueFull, SlotsBusy
from modelrouter.types import ModelForecast, ModelState


@dataclass(frozen=True, slots=True)
class Needs:
    """What the core knows of a model. A resident one, once loaded, is never evicted."""

    footprint_bytes: int
    slots: int
    is_resident: bool


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request's wish for a slot of a model; ids grow in the order of arrival.

    `may_wait` False: only for a load, never for other requests.
    """

    id: int
    model: str
    may_wait: bool = True


@dataclass(frozen=True, slots=True)
class Grant:
    """The ticket has a slot of the model until `left` is told."""

    ticket: int
    model: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The ticket's end: it will get no slot, for this reason."""

    ticket: int
    error: ModelRouterError


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model, then tell `loaded` or `load_failed`."""

    model: str


@dataclass(frozen=True, slots=True)
class Unload:
    """End the model's worker (or its load), then tell `unloaded`."""

    model: str


Effect: TypeAlias = Grant | Refuse | Load | Unload


@dataclass(slots=True)
class _Room:
    """A model's place in the house."""

    needs: Needs
    state: ModelState = ModelState.UNLOADED
    waiting: deque[Ticket] = field(default_factory=deque)
    leases: set[int] = field(default_factory=set)
    is_warmed: bool = False
    """Asked for without a ticket, at start."""
    used_at: int = 0

    @property
    def charged_bytes(self) -> int:
        """What it takes of the budget, from the decision to load to the last byte given back."""
        return 0 if self.state is ModelState.UNLOADED else self.needs.footprint_bytes

    @property
    def free_slots(self) -> int:
        return self.needs.slots - len(self.leases) if self.state is ModelState.READY else 0

    @property
    def is_wanted(self) -> bool:
        return self.state is ModelState.UNLOADED and bool(self.waiting or self.is_warmed)

    @property
    def stands(self) -> bool:
        """True where its memory is taken and stays taken."""
        return self.state in {ModelState.READY, ModelState.LOADING}

    @property
    def is_evictable(self) -> bool:
        """True where nobody uses it or waits for it, and it was not promised to stay."""
        return self.stands and not (self.leases or self.waiting or self.needs.is_resident)


class Core:
    """All models' states, queues and leases under one budget."""

    def __init__(self, models: Mapping[str, Needs], budget_bytes: int, max_waiting: int) -> None:
        """Begin with nothing loaded. `max_waiting` bounds each model's queue."""
        self._rooms = {name: _Room(needs) for name, needs in models.items()}
        self._budget_bytes = budget_bytes
        self._max_waiting = max_waiting
        self._uses = 0

    @property
    def used_bytes(self) -> int:
        """The ledger: what is loaded, loading, or not yet given back."""
        return sum(room.charged_bytes for room in self._rooms.values())

    # ── events ────────────────────────────────────────────────────────────────────────────────────

    def arrived(self, ticket: Ticket) -> list[Effect]:
        """A request wants a slot; it is refused where it can never have one or the line is full."""
        refusal = self._never_fits(ticket.model) or self._line_is_full(ticket.model)
        if refusal is not None:
            return [Refuse(ticket.id, refusal)]
        self._rooms[ticket.model].waiting.append(ticket)
        return self._settle()

    def left(self, ticket_id: int) -> list[Effect]:
        """A request is over, wherever it was: its caller went away, or its work is done."""
        for room in self._rooms.values():
            if ticket_id in room.leases:
                room.leases.remove(ticket_id)
                self._mark_used(room)
            room.waiting = deque(t for t in room.waiting if t.id != ticket_id)
        return self._settle()

    def warmed(self, model: str) -> list[Effect]:
        """The model should be loaded before anybody asks."""
        self._rooms[model].is_warmed = True
        return self._settle()

    def loaded(self, model: str) -> list[Effect]:
        """A load is done. One that was given up meanwhile stays so."""
        room = self._rooms[model]
        if room.state is ModelState.LOADING:
            room.state = ModelState.READY
        return self._settle()

    def load_failed(self, model: str, error: ModelRouterError) -> list[Effect]:
        """A load did not work: all who waited are told. The next who asks starts a new one.

        One that was given up meanwhile stays so: who waits now waits for the load after it.
        """
        room = self._rooms[model]
        if room.state is not ModelState.LOADING:
            return self._settle()
        room.state = ModelState.UNLOADED
        return _turn_away(room, error) + self._settle()

    def unloaded(self, model: str) -> list[Effect]:
        """The worker has ended and its memory is back, by our wish or by its own fault.

        Leases end with it: their holders hear of the death from their streams, and `left` follows.
        """
        room = self._rooms[model]
        room.state = ModelState.UNLOADED
        room.leases.clear()
        return self._settle()

    def budget_changed(self, budget_bytes: int) -> list[Effect]:
        """There is more or less memory than before."""
        self._budget_bytes = budget_bytes
        return self._settle()

    # ── what others may see ───────────────────────────────────────────────────────────────────────

    def forecast(self) -> dict[str, ModelForecast]:
        """Return a snapshot for the policy; advisory, and never read by a decision here."""
        return {
            name: ModelForecast(
                state=room.state,
                fits=self._never_fits(name) is None,
                free_slots=room.free_slots,
                waiting=len(room.waiting),
            )
            for name, room in self._rooms.items()
        }

    # ── the decision tree ─────────────────────────────────────────────────────────────────────────

    def _settle(self) -> list[Effect]:
        """Decide all that can be decided now.

        1. A ready model's free slots go to those who wait for it, first come first served.
        2. Who waits for what can never be loaded (the budget shrank) is refused.
        3. What is over the budget and idle is unloaded.
        4. Models that are wanted and not loaded get room, longest-waiting first.
        5. Who may wait for nothing but a load, and would wait for other requests, is refused. What
           that changes is decided anew.
        """
        rooms = self._rooms.items()
        effects: list[Effect] = [grant for name, room in rooms for grant in self._grant(name, room)]
        effects += self._refuse_hopeless()
        effects += _unload(self._victims(self._missing_bytes(0)))
        effects += self._make_room()
        if refused := self._refuse_hurried():
            effects += [*refused, *self._settle()]
        return effects

    def _make_room(self) -> list[Effect]:
        """Give wanted models room: what is free, else what is being freed, else idle models' room.

        One that cannot have room yet keeps the younger ones from taking what it waits for.
        """
        effects: list[Effect] = []
        for name, room in sorted(self._wanted(), key=lambda item: _seniority(item[1])):
            if self.used_bytes + room.needs.footprint_bytes <= self._budget_bytes:
                room.state = ModelState.LOADING
                effects.append(Load(name))
                continue
            missing_bytes = self._missing_bytes_for(room)
            victims = self._victims(missing_bytes)
            if sum(victim.needs.footprint_bytes for _, victim in victims) >= missing_bytes:
                effects += _unload(victims)
            break
        return effects

    def _grant(self, model: str, room: _Room) -> Iterable[Grant]:
        while room.waiting and room.free_slots:
            ticket = room.waiting.popleft()
            room.leases.add(ticket.id)
            self._mark_used(room)
            yield Grant(ticket.id, model)

    def _mark_used(self, room: _Room) -> None:
        self._uses += 1
        room.used_at = self._uses

    def _wanted(self) -> list[tuple[str, _Room]]:
        return [(name, room) for name, room in self._rooms.items() if room.is_wanted]

    def _idle(self) -> list[tuple[str, _Room]]:
        return [(name, room) for name, room in self._rooms.items() if room.is_evictable]

    def _missing_bytes(self, footprint_bytes: int) -> int:
        """Return what lacks for a footprint once everything that is being unloaded is gone."""
        rooms = self._rooms.values()
        freeing = sum(r.charged_bytes for r in rooms if r.state is ModelState.UNLOADING)
        return self.used_bytes - freeing + footprint_bytes - self._budget_bytes

    def _missing_bytes_for(self, room: _Room) -> int:
        """Return what lacks for a wanted model and all that must be loaded before it.

        That may be a model that is just being unloaded and that an older ticket wants back.
        """
        mine = _seniority(room)
        older = [r for r in self._rooms.values() if not r.stands and _seniority(r) < mine]
        return self._missing_bytes(sum(r.needs.footprint_bytes for r in (room, *older)))

    def _victims(self, missing_bytes: int) -> list[tuple[str, _Room]]:
        """Return idle models to unload for `missing_bytes`, longest unused first; all if too few.

        None of them is superfluous: one whose room the others' make up for is let off again.
        """
        chosen: list[tuple[str, _Room]] = []
        for name, room in sorted(self._idle(), key=lambda item: item[1].used_at):
            if missing_bytes > 0:
                chosen.append((name, room))
                missing_bytes -= room.needs.footprint_bytes
        for victim in list(chosen):
            if missing_bytes + victim[1].needs.footprint_bytes <= 0:
                chosen.remove(victim)
                missing_bytes += victim[1].needs.footprint_bytes
        return chosen

    # ── refusals ──────────────────────────────────────────────────────────────────────────────────

    def _never_fits(self, model: str) -> NeverFits | None:
        """Return why the model can never be loaded, or None. Residents' room is theirs for good."""
        need = self._rooms[model].needs.footprint_bytes
        others = (room.needs for name, room in self._rooms.items() if name != model)
        promised = sum(needs.footprint_bytes for needs in others if needs.is_resident)
        if need + promised <= self._budget_bytes:
            return None
        shared = f", of which resident models have {_gib(promised)}" if promised else ""
        return NeverFits(
            f"{model} needs {_gib(need)}; the budget is {_gib(self._budget_bytes)}{shared}",
            hint="lower its `context` or `slots`, use a smaller quantization, or raise budget.ram",
        )

    def _line_is_full(self, model: str) -> QueueFull | None:
        if len(self._rooms[model].waiting) < self._max_waiting:
            return None
        return QueueFull(
            f"{self._max_waiting} requests wait for {model} already",
            hint="try again later, or raise `server.max_waiting`",
        )

    def _refuse_hopeless(self) -> list[Effect]:
        return [
            refusal
            for name, room in self._rooms.items()
            if not room.stands and (never := self._never_fits(name))
            for refusal in _turn_away(room, never)
        ]

    def _refuse_hurried(self) -> list[Effect]:
        refused: list[Effect] = []
        for name, room in self._rooms.items():
            for place, ticket in enumerate(tuple(room.waiting)):
                if not ticket.may_wait and (why := self._waits_for_others(room, place)):
                    room.waiting.remove(ticket)
                    refused.append(Refuse(ticket.id, SlotsBusy(f"{name} {why}")))
        return refused

    def _waits_for_others(self, room: _Room, place: int) -> str | None:
        """Return which requests must end before the one at `place` (0: the first) in the line gets
        a slot; None where a load is all that it waits for.
        """
        slots = room.needs.slots
        if room.state is ModelState.READY:
            return f"is busy: {len(room.leases)} of {slots} slots taken"
        if place >= slots:
            return f"is not loaded yet, and {place} requests wait for its {slots} slots"
        idle_bytes = sum(idle.needs.footprint_bytes for _, idle in self._idle())
        if room.stands or self._missing_bytes_for(room) <= idle_bytes:
            return None
        need, budget = _gib(room.needs.footprint_bytes), _gib(self._budget_bytes)
        return f"needs {need}; other requests have or wait for too much of the {budget}"


def _unload(victims: list[tuple[str, _Room]]) -> list[Effect]:
    for _, room in victims:
        room.state = ModelState.UNLOADING
        room.is_warmed = False  # or it came back at once and evicted others in its turn
    return [Unload(name) for name, _ in victims]


def _turn_away(room: _Room, error: ModelRouterError) -> list[Effect]:
    """End all wishes for a model."""
    refused: list[Effect] = [Refuse(ticket.id, error) for ticket in room.waiting]
    room.waiting.clear()
    room.is_warmed = False
    return refused


def _seniority(room: _Room) -> tuple[int, int]:
    """Order models that want room: by their oldest ticket; those only warmed come last."""
    return (0, room.waiting[0].id) if room.waiting else (1, 0)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
