"""The scheduler's promises under everything that can happen, in any order.

A `Box` stands for the machine: it carries the core's effects out when hypothesis says so, and keeps
books of its own from events and effects alone. Of the core's state only the ledger is looked at.
"""

import copy
from dataclasses import dataclass, field
from enum import Enum, auto

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelrouter.errors import LoadFailed, ModelRouterError, NeverFits, QueueFull, SlotsBusy
from modelrouter.scheduler.core import Core, Effect, Grant, Load, Needs, Refuse, Ticket, Unload

MAX_WAITING = 3
NAMES = "abcde"
BUDGETS = st.integers(8, 20)
RARELY = st.sampled_from([False, False, False, False, True])
"""Residents fill the budget: with many of them most tickets never fit, and nothing happens."""


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
ALIVE = STANDING | ENDING


@dataclass
class Box:
    """The machine, and the books that the core is checked against."""

    core: Core
    models: dict[str, Needs]
    budget: int
    workers: dict[str, Worker]
    warm: set[str] = field(default_factory=set)
    waiting: dict[int, Ticket] = field(default_factory=dict)
    leased: dict[int, str] = field(default_factory=dict)
    refused: dict[int, ModelRouterError] = field(default_factory=dict)
    ids: int = 0

    def charged(self, states: set[Worker]) -> int:
        """The bytes of all models whose workers are in one of these states."""
        return sum(self.models[m].footprint_bytes for m, w in self.workers.items() if w in states)

    def line(self, model: str) -> list[Ticket]:
        """Who waits for the model, in the order of arrival."""
        return sorted((t for t in self.waiting.values() if t.model == model), key=lambda t: t.id)

    def holders(self, model: str) -> int:
        """How many leases there are on the model's worker."""
        return list(self.leased.values()).count(model)

    def fits(self, model: str) -> bool:
        """True where the model can be loaded beside all other residents."""
        others = (n for m, n in self.models.items() if m != model and n.is_resident)
        need = self.models[model].footprint_bytes + sum(n.footprint_bytes for n in others)
        return need <= self.budget

    def unserved(self) -> list[str]:
        """The models with no worker that somebody waits for, longest wait first."""
        lines = {m: self.line(m) for m, w in self.workers.items() if w is Worker.NONE}
        return sorted((m for m in lines if lines[m]), key=lambda m: lines[m][0].id)

    def take(self, effects: list[Effect]) -> None:
        """Enter one event's effects in the books, and check what is true of each and of all."""
        was_over = self.charged(STANDING) > self.budget
        for effect in effects:
            self._take_one(effect)
        self._check_loads([e.model for e in effects if isinstance(e, Load)])
        self._check_unloads([e.model for e in effects if isinstance(e, Unload)], was_over=was_over)
        hopeless = {m for m, w in self.workers.items() if w not in STANDING and not self.fits(m)}
        self.warm -= hopeless

    def _take_one(self, effect: Effect) -> None:
        match effect:
            case Grant(ticket, model):
                assert self.waiting.pop(ticket).model == model
                assert self.workers[model] is Worker.LOADED
                self.leased[ticket] = model
                assert self.holders(model) <= self.models[model].slots
            case Refuse(ticket, error):
                del self.waiting[ticket]
                self.refused[ticket] = error
            case Load(model):
                assert self.workers[model] is Worker.NONE
                self.workers[model] = Worker.LOADING
                assert self.charged(ALIVE) <= self.budget
            case Unload(model):
                assert self.workers[model] in STANDING
                assert not self.models[model].is_resident
                assert not self.holders(model)
                assert not self.line(model)
                is_load = self.workers[model] is Worker.LOADING
                self.workers[model] = Worker.ENDING_LOAD if is_load else Worker.ENDING
                self.warm.discard(model)

    def _check_loads(self, loads: list[str]) -> None:
        """Check that each load is for somebody, and none overtakes an older ticket."""
        for model in loads:
            line = self.line(model)
            was_given_up_at_once = self.workers[model] in ENDING
            assert line or model in self.warm or was_given_up_at_once
            for overtaken in self.unserved():
                assert line
                assert line[0].id < self.line(overtaken)[0].id

    def _check_unloads(self, unloads: list[str], *, was_over: bool) -> None:
        """Check that what was evicted suffices for the first in line, and all of it was needed."""
        wanted = self.unserved() or sorted(
            m for m in self.warm if self.workers[m] is Worker.NONE and self.fits(m)
        )
        if was_over and wanted:  # evicted for two reasons, one after the other
            return
        need = sum(self.models[m].footprint_bytes for m in self._with_older(wanted[:1]))
        kept = self.charged(STANDING)
        assert was_over or not unloads or kept + need <= self.budget
        for model in unloads:
            assert kept + self.models[model].footprint_bytes + need > self.budget

    def _with_older(self, wanted: list[str]) -> list[str]:
        """Add the models that are being unloaded and that older tickets want back."""
        age = min((t.id for model in wanted for t in self.line(model)), default=self.ids)
        leaving = [m for m, w in self.workers.items() if w in ENDING and self.line(m)]
        return wanted + [m for m in leaving if wanted and self.line(m)[0].id < age]

    def arrive(self, model: str, *, may_wait: bool) -> int:
        """Let a request come in; return its ticket's id."""
        ticket = Ticket(self.ids, model, may_wait)
        self.ids += 1
        self.waiting[ticket.id] = ticket
        self.take(self.core.arrived(ticket))
        return ticket.id

    def leave(self, ticket_id: int) -> None:
        """Let a request go, wherever it stands."""
        self.waiting.pop(ticket_id, None)
        self.leased.pop(ticket_id, None)
        self.take(self.core.left(ticket_id))

    def end_load(self, model: str, *, well: bool) -> None:
        """Report the end of a load, in time or after it was given up."""
        if self.workers[model] is Worker.ENDING_LOAD:
            self.workers[model] = Worker.ENDING
        elif well:
            self.workers[model] = Worker.LOADED
        else:
            self.workers[model] = Worker.NONE
            self.warm.discard(model)
        if well:
            self.take(self.core.loaded(model))
        else:
            self.take(self.core.load_failed(model, LoadFailed("no")))

    def end_worker(self, model: str) -> None:
        """Report that a worker is gone, as it was told or by its own fault; its leases are void."""
        self.workers[model] = Worker.NONE
        self.leased = {t: m for t, m in self.leased.items() if m != model}
        self.take(self.core.unloaded(model))

    def work(self) -> bool:
        """Carry one thing out that the core asked for; False where nothing is left to do."""
        for model, worker in self.workers.items():
            if worker is Worker.LOADING:
                self.end_load(model, well=True)
                return True
            if worker in ENDING:
                self.end_worker(model)
                return True
        return False


class Scheduling(RuleBasedStateMachine):
    """Requests, workers and the budget do what they like; the core must keep its promises."""

    @initialize(
        needs=st.lists(
            st.builds(Needs, st.integers(1, 10), st.integers(1, 2), RARELY),
            min_size=3,
            max_size=len(NAMES),
        ),
        budget=BUDGETS,
    )
    def start(self, needs: list[Needs], budget: int) -> None:
        """Begin with a few models and a budget."""
        models = dict(zip(NAMES, needs, strict=False))
        core = Core(models, budget, MAX_WAITING)
        self.box = Box(core, models, budget, dict.fromkeys(models, Worker.NONE))

    def pick(self, index: int, states: set[Worker]) -> str | None:
        """Return one of the models whose worker is in one of these states, if any is."""
        found = [model for model, worker in self.box.workers.items() if worker in states]
        return found[index % len(found)] if found else None

    @rule(index=st.integers(0, 4), may_wait=st.booleans())
    def arrive(self, index: int, may_wait: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """A request comes in; it is refused for the reasons there are and for no other."""
        box = self.box
        model = NAMES[index % len(box.models)]
        could_fit, line, alone = box.fits(model), box.line(model), not (box.waiting or box.leased)
        refusal = box.refused.get(box.arrive(model, may_wait=may_wait))
        assert isinstance(refusal, NeverFits) == (not could_fit)
        assert isinstance(refusal, QueueFull) == (could_fit and len(line) >= MAX_WAITING)
        if isinstance(refusal, SlotsBusy):
            assert not may_wait
            assert not alone

    @rule(indices=st.lists(st.integers(0, 4), min_size=2, max_size=5))
    def crowd(self, indices: list[int]) -> None:
        """Several patient requests come in, one after the other."""
        for index in indices:
            self.box.arrive(NAMES[index % len(self.box.models)], may_wait=True)

    @rule()
    def work_off(self) -> None:
        """The box does all that it was asked for."""
        while self.box.work():
            pass

    @precondition(lambda self: self.box.waiting or self.box.leased)
    @rule(index=st.integers(0, 20))
    def leave(self, index: int) -> None:
        """A caller goes away, or is done."""
        present = [*self.box.waiting, *self.box.leased]
        self.box.leave(present[index % len(present)])

    @precondition(lambda self: self.box.refused)
    @rule()
    def leave_after_refusal(self) -> None:
        """Telling the end of one that was refused changes nothing."""
        self.box.leave(max(self.box.refused))

    @rule(index=st.integers(0, 4), well=st.booleans())
    def end_load(self, index: int, well: bool) -> None:  # noqa: FBT001
        """A load ends, well or not, perhaps after it was given up."""
        if model := self.pick(index, {Worker.LOADING, Worker.ENDING_LOAD}):
            self.box.end_load(model, well=well)

    @rule(index=st.integers(0, 4))
    def finish_unload(self, index: int) -> None:
        """A worker that was to end is gone."""
        if model := self.pick(index, ENDING):
            self.box.end_worker(model)

    @rule(index=st.integers(0, 4))
    def die(self, index: int) -> None:
        """A worker dies by itself."""
        if model := self.pick(index, {Worker.LOADED}):
            self.box.end_worker(model)

    @rule(index=st.integers(0, 4))
    def warm(self, index: int) -> None:
        """A model is wanted before anybody asks."""
        model = NAMES[index % len(self.box.models)]
        self.box.warm.add(model)
        self.box.take(self.box.core.warmed(model))

    @rule(budget=BUDGETS)
    def change_budget(self, budget: int) -> None:
        """The machine has more or less memory than before."""
        self.box.budget = budget
        self.box.take(self.box.core.budget_changed(budget))

    @invariant()
    def the_ledger_is_right(self) -> None:
        """`used_bytes` is the memory of all workers, from the load's begin to the worker's end."""
        assert self.box.core.used_bytes == self.box.charged(ALIVE)

    @invariant()
    def nobody_waits_while_the_model_is_ready_with_a_free_slot(self) -> None:
        """Work-conserving."""
        for model, worker in self.box.workers.items():
            if worker is Worker.LOADED and self.box.line(model):
                assert self.box.holders(model) == self.box.models[model].slots

    @invariant()
    def nobody_waits_for_what_can_never_be_loaded(self) -> None:
        """Hopeless tickets have been refused."""
        standing = {m for m, w in self.box.workers.items() if w in STANDING}
        assert all(self.box.fits(t.model) or t.model in standing for t in self.box.waiting.values())

    @invariant()
    def what_is_over_the_budget_and_idle_goes(self) -> None:
        """Only what is used or promised may stay above a budget that shrank."""
        box = self.box
        if box.charged(STANDING) > box.budget:
            for model, worker in box.workers.items():
                is_used = box.holders(model) or box.line(model) or box.models[model].is_resident
                assert worker not in STANDING or is_used

    @invariant()
    def the_first_in_line_waits_for_something(self) -> None:
        """Free room, room that is being freed or idle models' room is used at once."""
        box = self.box
        for model in box.unserved()[:1]:
            staying = sum(
                box.models[m].footprint_bytes
                for m, w in box.workers.items()
                if w in STANDING and (box.holders(m) or box.line(m) or box.models[m].is_resident)
            )
            if staying + box.models[model].footprint_bytes <= box.budget:
                assert any(worker in ENDING for worker in box.workers.values())

    @invariant()
    def who_may_not_wait_needs_nobody_to_leave(self) -> None:
        """Loads and unloads alone bring a hurried ticket to its end."""
        hurried = [t.id for t in self.box.waiting.values() if not t.may_wait]
        if hurried:
            box = copy.deepcopy(self.box)
            while box.work():
                pass
            assert not set(hurried) & set(box.waiting)

    def teardown(self) -> None:
        """Everything drains once the box does its work and lessees leave."""
        if not hasattr(self, "box"):
            return
        for _ in range(1000):
            if not self.box.work():
                if not self.box.leased:
                    break
                self.box.leave(min(self.box.leased))
        assert not self.box.waiting
        assert not self.box.leased


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=300, stateful_step_count=50, database=None)
