"""The scheduler's promises under everything that can happen, in any order.

Hypothesis moves a `Box`, which stands for the machine and checks each effect; here is what must be
true whenever an event is over, and what must become true in the end.
"""

import pickle
from collections.abc import Sequence
from typing import TypeVar

from box import Box
from box_books import ENDING, PATIENCE, Model, Worker
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelrouter.errors import DeadlineExceeded, EngineError, NeverFits, QueueFull, SlotsBusy
from modelrouter.scheduler.effects import Needs, Priority
from modelrouter.scheduler.room import MOST_FAILURES

T = TypeVar("T")

NAMES = "abcde"
BUDGETS = st.integers(8, 20)
CEILINGS = st.sampled_from([None, 0, 3, 8])
INDICES = st.integers(0, 4)
RARELY = st.sampled_from([False, False, False, False, True])
"""Residents fill the budget: with many of them most tickets never fit, and nothing happens."""

NEEDS = st.builds(
    Needs, st.integers(1, 10), st.integers(1, 2), RARELY, st.sampled_from([0, 0, 4, 12])
)
PRIORITIES = st.sampled_from(Priority)
LATER = st.sampled_from([0, 0, 0, 0, 1, PATIENCE])
"""Seconds that went by unnoticed before an event."""
WORTH_WAITING = st.sampled_from([None, None, None, 1, 5, 2 * PATIENCE])
LONGEST_BACK_OFF = 2
ROUNDS = 100
"""More than enough: what a ticket may have to wait for are 10 leases and 44 older tickets."""


class Scheduling(RuleBasedStateMachine):
    """Requests, workers, memory and time do what they like; the core must keep its promises."""

    @initialize(
        needs=st.lists(NEEDS, min_size=3, max_size=len(NAMES)),
        budget=BUDGETS,
        lockable=st.sampled_from([20, 20, 5, 2]),
    )
    def start(self, needs: list[Needs], budget: int, lockable: int) -> None:
        """Begin with a few models and a budget; workers may lock much or little memory."""
        self.box = Box(dict(zip(NAMES, needs, strict=False)), budget, lockable)

    def pick(self, index: int, states: set[Worker]) -> Model | None:
        """Return one of the models whose worker is in one of these states, if any is."""
        return _one_of([m for m in self.box.models.values() if m.worker in states], index)

    def model(self, index: int) -> Model:
        """Return one of the models."""
        return self.box.models[NAMES[index % len(self.box.models)]]

    # ── what may happen ───────────────────────────────────────────────────────────────────────────

    @rule(
        index=INDICES,
        later=LATER,
        may_wait=st.booleans(),
        priority=PRIORITIES,
        seconds=WORTH_WAITING,
    )
    def arrive(
        self,
        index: int,
        later: int,
        may_wait: bool,  # noqa: FBT001 - hypothesis names it
        priority: Priority,
        seconds: int | None,
    ) -> None:
        """A request comes in; it is refused for the reasons there are and for no other."""
        box, model = self.box, self.model(index)
        never_fits, is_full = not box.fits(model), model.has_full_line(priority)
        alone = not (box.waiting or box.leased)
        box.now += later
        ticket = box.arrive(model.name, may_wait=may_wait, priority=priority, seconds=seconds)
        refusal = box.refused.get(ticket)
        assert isinstance(refusal, NeverFits) == never_fits
        assert isinstance(refusal, EngineError) == (not never_fits and model.has_failed)
        assert isinstance(refusal, QueueFull) == (
            is_full and not never_fits and not model.has_failed
        )
        assert not isinstance(refusal, DeadlineExceeded)
        if isinstance(refusal, SlotsBusy):
            assert not may_wait
            assert not alone

    @rule(indices=st.lists(INDICES, min_size=2, max_size=5), priority=PRIORITIES)
    def crowd(self, indices: list[int], priority: Priority) -> None:
        """Several patient requests come in, one after the other."""
        for index in indices:
            self.box.arrive(self.model(index).name, priority=priority)

    @rule()
    def work_off(self) -> None:
        """The box does all that it was asked for."""
        _work_off(self.box)

    @precondition(lambda self: self.box.waiting or self.box.leased)
    @rule(index=st.integers(0, 20), later=LATER, has_answer=st.booleans())
    def leave(self, index: int, later: int, has_answer: bool) -> None:  # noqa: FBT001
        """A caller goes away, or is done."""
        present = [*self.box.waiting, *self.box.leased]
        self.box.now += later
        self.box.leave(present[index % len(present)], has_answer=has_answer)

    @precondition(lambda self: self.box.refused)
    @rule()
    def leave_after_refusal(self) -> None:
        """Telling the end of one that was refused changes nothing."""
        self.box.leave(max(self.box.refused))

    @rule(index=INDICES, well=st.booleans(), later=LATER)
    def end_load(self, index: int, well: bool, later: int) -> None:  # noqa: FBT001
        """A load ends, well or not, perhaps after it was given up."""
        if model := self.pick(index, {Worker.LOADING, Worker.ENDING_LOAD}):
            self.box.now += later
            self.box.end_load(model.name, well=well)

    @rule(index=INDICES)
    def finish_unload(self, index: int) -> None:
        """A worker that was to end is gone."""
        if model := self.pick(index, ENDING):
            self.box.end_worker(model.name)

    @rule(index=INDICES)
    def die(self, index: int) -> None:
        """A worker dies by itself."""
        if model := self.pick(index, {Worker.LOADED}):
            self.box.die(model.name)

    @rule(index=st.integers(0, 20))
    def break_down(self, index: int) -> None:
        """Now and then a model fails as often as it is tried."""
        if index >= len(self.box.models):
            return
        box, model = self.box, self.model(index)
        for _ in range(MOST_FAILURES):
            box.arrive(model.name)
            if model.worker is Worker.LOADING:
                box.end_load(model.name, well=False)
            elif model.worker is Worker.LOADED:
                box.die(model.name)
            box.tick(LONGEST_BACK_OFF)

    @rule(index=INDICES, lacks=st.sampled_from([0, 1, 3]))
    def answer_pin(self, index: int, lacks: int) -> None:
        """A worker has pinned what it was told to, or less; perhaps it is just being ended."""
        asked = [m for m in self.box.models.values() if m.pins.unanswered]
        if model := _one_of(asked, index):
            self.box.answer_pin(model.name, lacks)

    @rule(index=INDICES)
    def warm(self, index: int) -> None:
        """A model is wanted before anybody asks."""
        self.box.warm(self.model(index).name)

    @rule(index=INDICES)
    def dismiss(self, index: int) -> None:
        """A person sends a model away."""
        self.box.dismiss(self.model(index).name)

    @rule(budget=BUDGETS)
    def change_budget(self, budget: int) -> None:
        """The machine has more or less memory than before."""
        self.box.change_budget(budget)

    @rule(ceiling=CEILINGS)
    def change_ceiling(self, ceiling: int | None) -> None:
        """The machine is short of memory for pins, or no more."""
        self.box.change_ceiling(ceiling)

    @rule(seconds=st.integers(0, 2 * PATIENCE))
    def tick(self, seconds: int) -> None:
        """Time goes by."""
        self.box.tick(seconds)

    @rule()
    def wake(self) -> None:
        """The clock comes to the moment that the core wants to be woken at."""
        if (moment := self.box.core.next_wake()) is not None:
            self.box.tick(int(moment) - self.box.now)

    # ── what must be true whenever an event is over ───────────────────────────────────────────────

    @invariant()
    def the_ledger_is_right(self) -> None:
        """`used_bytes` is the memory of all workers, pins included, until each is gone."""
        assert self.box.core.used_bytes == self.box.charged
        assert all(m.pins.real <= m.pins.held for m in self.box.models.values())

    @invariant()
    def nobody_waits_while_the_model_is_ready_with_a_free_slot(self) -> None:
        """Work-conserving, but where the model is sent away or drained for someone impatient."""
        for model in self.box.models.values():
            if model.worker is Worker.LOADED and model.line and not model.is_dismissed:
                is_full = len(model.holders) == model.needs.slots
                assert is_full or self.box.drains(model)

    @invariant()
    def nobody_waits_for_what_can_never_be_had(self) -> None:
        """Tickets that are late, too large or for a broken model have been refused."""
        for model in self.box.models.values():
            if model.line:
                assert model.stands or (self.box.fits(model) and not model.has_failed)
            assert all(t.deadline is None or t.deadline > self.box.now for t in model.line)

    @invariant()
    def what_is_sent_away_goes_once_nobody_uses_it(self) -> None:
        """A resident model too."""
        assert not any(m.is_dismissed and m.stands and not m.holders for m in _models(self.box))

    @invariant()
    def what_is_over_the_budget_and_idle_goes(self) -> None:
        """Only what is used or promised may stay above a budget that shrank."""
        if self.box.standing() > self.box.budget:
            assert self.box.idle() == 0

    @invariant()
    def the_first_in_line_waits_for_something(self) -> None:
        """Free room, room that is being freed or pinned, idle models' room is used at once."""
        for model in self.box.unserved()[:1]:
            if self.box.lacking(model) > 0:
                assert self.box.lacking(model) > self.box.idle()
            else:
                assert self.box.charged + model.size > self.box.budget
                assert any(m.worker in ENDING or m.pins.unanswered for m in _models(self.box))

    @invariant()
    def what_nobody_needs_is_pinned(self) -> None:
        """Pins have what no model has and no load waits for, less only while others let go of it.

        They never have more, be it by the budget or by the ceiling.
        """
        box = self.box
        free = box.budget - box.standing()
        for model in box.unserved():
            if box.lacking(model) > 0:
                break
            free -= model.size
        most = max(0, free if box.ceiling is None else min(free, box.ceiling))
        targets = sum(model.pins.target for model in _models(box) if model.pinnable)
        assert targets <= most
        if targets < min(most, sum(model.pinnable for model in _models(box))):
            assert box.charged >= box.budget

    @invariant()
    def time_changes_nothing_before_the_moment_that_was_named(self) -> None:
        """All that could be decided is decided, and `next_wake` is when there will be more."""
        core = _copy(self.box).core
        moment = core.next_wake()
        assert core.ticked(self.box.now + 1000 if moment is None else moment - 0.5) == []

    @invariant()
    def who_may_not_wait_needs_nobody_to_leave(self) -> None:
        """Loads, unloads, pins and back-off alone bring a hurried ticket to its end."""
        hurried = {t.id for t in self.box.waiting.values() if not t.may_wait}
        if hurried:
            box = _copy(self.box)
            for _ in range(LONGEST_BACK_OFF + 1):
                _work_off(box)
                box.tick(1)
            assert not hurried & set(box.waiting)

    @precondition(lambda self: self.box.waiting)
    @rule(index=st.integers(0, 20))
    def nobody_starves(self, index: int) -> None:
        """All models are asked for without pause, and still each ticket comes to its end."""
        box = _copy(self.box)
        ticket = _one_of(list(box.waiting), index)
        for _ in range(ROUNDS):
            _work_off(box)
            if ticket not in box.waiting:
                return
            for name, model in box.models.items():
                if not model.line:
                    box.arrive(name, priority=Priority.INTERACTIVE)
            if box.leased:
                box.leave(box.leased[0])
            box.tick(1)
        raise AssertionError(f"ticket {ticket} was not served")

    def teardown(self) -> None:
        """Everything drains once the box does its work, lessees leave and time goes by."""
        if not hasattr(self, "box"):
            return
        box = self.box
        for _ in range(1000):
            _work_off(box)
            if box.leased:
                box.leave(box.leased[0])
            elif (moment := box.core.next_wake()) is not None:
                box.tick(int(moment) - box.now)
            else:
                break
        assert not box.waiting
        assert not box.leased


def _one_of(some: Sequence[T], index: int) -> T | None:
    return some[index % len(some)] if some else None


def _models(box: Box) -> list[Model]:
    return list(box.models.values())


def _copy(box: Box) -> Box:
    copied: Box = pickle.loads(pickle.dumps(box))
    return copied


def _work_off(box: Box) -> None:
    for _ in range(ROUNDS):
        if not box.work():
            return
    raise AssertionError("the box works for ever")


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(
    max_examples=8 * settings().max_examples, stateful_step_count=50, database=None
)
