"""A box for the scheduler's core: workers, memory, callers and a clock, all moved by hand.

It tells the core of events, carries its effects out when it is told to, and checks each effect as
it comes. `test_scheduling.py` checks what must be true between events.
"""

from typing import Any

from box_books import ENDING, MAX_WAITING, PATIENCE, BoxBooks, Model, Worker

from modelrouter.errors import LoadFailed, ModelRouterError, WorkerDied
from modelrouter.scheduler.core import Core
from modelrouter.scheduler.effects import Effect, Grant, Load, Needs, Pin, Refuse, Ticket, Unload


class Box(BoxBooks):
    """The machine under a core."""

    def __init__(self, models: dict[str, Needs], budget: int, lockable: int) -> None:
        """Begin with nothing loaded, at time 0; no worker can pin more than is `lockable`."""
        super().__init__(models, budget)
        self.lockable = lockable
        self.core = Core(models, budget, MAX_WAITING, PATIENCE)

    # ── effects ───────────────────────────────────────────────────────────────────────────────────

    def take(self, effects: list[Effect]) -> None:
        """Enter one event's effects in the books, and check what is true of each and of all."""
        was_over = self.standing() > self.budget
        evicted = []
        for effect in effects:
            match effect:
                case Grant(ticket, model):
                    self._granted(self.models[model], ticket)
                case Refuse(ticket, error):
                    self._refused(ticket, error)
                case Load(model):
                    self._load(self.models[model])
                case Unload(model):
                    evicted += self._unload(self.models[model])
                case Pin(model, size):
                    self._pin(self.models[model], size)
        self._check_evicted(evicted, was_over=was_over)
        for page in self.models.values():
            page.is_warm &= page.stands or self.fits(page)

    def _granted(self, model: Model, ticket_id: int) -> None:
        assert model.worker is Worker.LOADED
        assert not model.is_dismissed
        first = min(model.line, key=self.rank)
        assert first.id == ticket_id
        model.line.remove(first)
        model.holders.add(ticket_id)
        assert len(model.holders) <= model.needs.slots

    def _refused(self, ticket_id: int, error: ModelRouterError) -> None:
        ticket = self.waiting[ticket_id]
        self.models[ticket.model].line.remove(ticket)
        self.refused[ticket_id] = error

    def _load(self, model: Model) -> None:
        assert model in self.unserved()
        assert not model.has_failed
        assert self.urgency(model) <= self.urgency(self.unserved()[0])
        model.worker = Worker.LOADING
        assert self.charged <= self.budget

    def _unload(self, model: Model) -> list[Model]:
        """Enter an Unload; return the model where it was for memory."""
        assert model.stands
        assert not model.holders
        assert model.is_dismissed or not model.needs.is_resident
        assert model.is_dismissed or not model.line or self.drains(model)
        is_load = model.worker is Worker.LOADING
        model.worker = Worker.ENDING_LOAD if is_load else Worker.ENDING
        model.is_warm = False
        return [] if model.is_dismissed else [model]

    def _pin(self, model: Model, size: int) -> None:
        assert model.worker is Worker.LOADED
        assert size != model.pins.target
        assert 0 <= size <= model.pinnable
        grows = size > model.pins.held
        model.pins.target = size
        model.pins.held = max(model.pins.held, size)
        model.pins.unanswered.append(size)
        assert not grows or self.charged <= self.budget

    def _check_evicted(self, evicted: list[Model], *, was_over: bool) -> None:
        """Check that what was evicted suffices for the first in line, and all of it was needed."""
        wanted = self.unserved()[:1]
        if was_over and wanted:  # evicted for two reasons, one after the other
            return
        lacking = max(map(self.lacking, wanted), default=self.standing() - self.budget)
        assert was_over or not evicted or lacking <= 0
        for model in evicted:
            assert lacking + model.size > 0

    # ── events ────────────────────────────────────────────────────────────────────────────────────

    def arrive(self, model: str, *, seconds: int | None = None, **ticket: Any) -> int:
        """Let a request come in that is worth waiting `seconds` for; return its ticket's id."""
        deadline = None if seconds is None else self.now + seconds
        wish = Ticket(self.ids, model, self.now, deadline=deadline, **ticket)
        self.ids += 1
        self.models[model].line.append(wish)
        self.take(self.core.arrived(wish))
        return wish.id

    def leave(self, ticket_id: int, *, has_answer: bool = True) -> None:
        """Let a request go, wherever it stands; one that held a slot may have its answer."""
        for model in self.models.values():
            model.line = [ticket for ticket in model.line if ticket.id != ticket_id]
            if ticket_id in model.holders:
                model.holders.remove(ticket_id)
                model.failures = 0 if has_answer else model.failures
        self.take(self.core.left(ticket_id, self.now, has_answer=has_answer))

    def warm(self, name: str) -> None:
        """Let somebody want a model before anybody asks; one that has failed is tried again."""
        model = self.models[name]
        model.is_warm, model.is_dismissed = True, False
        model.failures = model.retry_at = 0
        self.take(self.core.warmed(name, self.now))

    def dismiss(self, name: str) -> None:
        """Let a person send a model away."""
        model = self.models[name]
        model.is_warm, model.is_dismissed = False, model.stands
        self.take(self.core.dismissed(name, self.now))

    def end_load(self, name: str, *, well: bool) -> None:
        """Report the end of a load, in time or after it was given up."""
        model = self.models[name]
        if model.worker is Worker.ENDING_LOAD:
            model.worker = Worker.ENDING
        elif well:
            model.worker = Worker.LOADED
        else:
            model.fail(self.now)
            model.is_warm = False
        error = LoadFailed("no")
        core, now = self.core, self.now
        self.take(core.loaded(name, now) if well else core.load_failed(name, error, now))

    def end_worker(self, name: str) -> None:
        """Report that a worker is gone, as it was told."""
        self.models[name].end()
        self.take(self.core.unloaded(name, self.now))

    def die(self, name: str) -> None:
        """Report that a worker is gone by its own fault."""
        self.models[name].fail(self.now)
        self.take(self.core.died(name, WorkerDied("alas"), self.now))

    def answer_pin(self, name: str, lacks: int = 0) -> None:
        """Report the end of the oldest Pin.

        The worker gets as much as can be locked. One that has another goal already may have stopped
        on its way, `lacks` short of this one.
        """
        model, pins = self.models[name], self.models[name].pins
        goal = pins.unanswered.pop(0)
        lacks = lacks if pins.unanswered else 0
        if goal >= pins.real:
            pins.real = max(pins.real, min(goal, self.lockable) - lacks)
        else:
            pins.real = min(pins.real, goal + lacks)
        if not pins.unanswered and model.worker is Worker.LOADED:
            pins.held = pins.real
            if pins.real < goal:
                pins.allowed = pins.target = pins.real
        self.take(self.core.pinned(name, pins.real, self.now))

    def change_budget(self, budget: int) -> None:
        """Let the machine have more or less memory than before."""
        self.budget = budget
        self.take(self.core.budget_changed(budget, self.now))

    def change_ceiling(self, ceiling: int | None) -> None:
        """Let the machine be short of memory for pins, or no more."""
        self.ceiling = ceiling
        self.take(self.core.pin_ceiling_changed(ceiling, self.now))

    def tick(self, seconds: int) -> None:
        """Let time go by."""
        self.now += seconds
        self.take(self.core.ticked(self.now))

    def work(self) -> bool:
        """Carry one thing out that the core asked for; False where nothing is left to do."""
        for name, model in self.models.items():
            if model.worker is Worker.LOADING:
                self.end_load(name, well=True)
            elif model.worker in ENDING:
                self.end_worker(name)
            elif model.pins.unanswered:
                self.answer_pin(name)
            else:
                continue
            return True
        return False
