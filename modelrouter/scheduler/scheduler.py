"""The scheduler: tells the core what happens, has its decisions carried out, hands out leases.

It decides nothing itself: every event goes to `core.Core`, and every effect that comes back to
whoever waits for it, or to `workers.py`. It counts bytes and slots and never sees a token.
"""

import asyncio
import copy
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from modelrouter.engine.process import Engine
from modelrouter.errors import (
    CapacityError,
    ModelRouterError,
    NeverFits,
    UnknownModel,
    did_you_mean,
)
from modelrouter.forecast import Forecast, ModelState
from modelrouter.registry import ModelSpec
from modelrouter.scheduler import snapshot
from modelrouter.scheduler.core import PATIENCE_SECONDS, Core
from modelrouter.scheduler.effects import (
    Effect,
    Grant,
    Load,
    Needs,
    Pin,
    Priority,
    Refuse,
    Ticket,
    Unload,
)
from modelrouter.scheduler.lease import Lease
from modelrouter.scheduler.rates import Rates
from modelrouter.scheduler.room import Room
from modelrouter.scheduler.snapshot import Status, Wait
from modelrouter.scheduler.workers import Workers

log = logging.getLogger(__name__)


class Scheduler:
    """Leases on the slots of models, inside one memory budget."""

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        budget_bytes: int,
        max_waiting: int,
        *,
        max_wait_seconds: float | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        rates: Rates | None = None,
    ) -> None:
        """Manage these models; none is loaded before it is asked for.

        `max_wait_seconds` bounds the time that a request may wait for a slot.
        """
        self._specs = specs
        self._rates = Rates() if rates is None else rates
        needs = {name: self._needs(spec) for name, spec in specs.items()}
        self._core = Core(needs, budget_bytes, max_waiting, patience_seconds)
        self._max_wait_seconds = max_wait_seconds
        self._workers = Workers(specs, self._rates, self._heard, self._tell_news)
        self._promises: dict[int, asyncio.Future[Engine]] = {}
        self._leases: dict[int, Lease] = {}
        self._ticket_ids = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._is_closing = False

    def _needs(self, spec: ModelSpec) -> Needs:
        measured_seconds = self._rates.of(spec.identity).load_seconds
        load_seconds = measured_seconds or _guessed_load_seconds(spec)
        pinnable_bytes = spec.footprint.mapped_bytes
        return Needs(spec.charged_bytes, spec.slots, spec.is_resident, pinnable_bytes, load_seconds)

    # ── what others see ───────────────────────────────────────────────────────────────────────────

    def forecast(self) -> Forecast:
        """Return what the policy may know of each model now: advisory."""
        now = _now()
        return {
            name: snapshot.forecast(
                self._core, name, self._rates.of(spec.identity), self._workers.seen_of(name), now
            )
            for name, spec in self._specs.items()
        }

    def status(self) -> Status:
        """Return who has what of the budget now."""
        return snapshot.status(self._core, self._workers.seen())

    def wait_of(self, ticket_id: int) -> Wait | None:
        """Return what the request that `lease` gave this number waits for; None where it left."""
        return snapshot.wait(self._core, ticket_id, self._workers.seen())

    @property
    def pinned_bytes(self) -> int:
        """What all workers together have pinned, as they last said."""
        return self._workers.pinned_bytes

    def engine_of(self, model: str) -> Engine | None:
        """Return a loaded model's engine, for what needs no slot; None where it is not loaded."""
        return self._workers.get(model)

    def limit_pins(self, ceiling_bytes: int) -> None:
        """Let all workers together pin so much and no more: the box is short of memory, or not."""
        self._carry_out(self._core.pin_ceiling_changed(ceiling_bytes, _now()))

    def never_fits(self, model: str) -> NeverFits | None:
        """Return why a model can never be loaded inside the budget, None where it can."""
        return self._core.never_fits(model)

    async def news(self) -> None:
        """Wait until something changes in the house."""
        await self._news.wait()

    # ── what people ask for ───────────────────────────────────────────────────────────────────────

    def warm(self) -> None:
        """Begin to load the resident models."""
        for name, spec in self._specs.items():
            if spec.is_resident:
                self._carry_out(self._core.warmed(name, _now()))

    async def load(self, model: str) -> None:
        """Load a model before anybody asks, also one that was given up; wait until it is there.

        Raises UnknownModel, NeverFits, or why the load failed.
        """
        room = self._room(model)
        if (refusal := self._core.never_fits(model)) is not None:
            raise refusal
        self._carry_out(self._core.warmed(model, _now()))
        while room.state is not ModelState.READY:
            if not (room.is_warmed or room.waiting or room.state is ModelState.LOADING):
                raise copy.copy(room.problem or self._core.never_fits(model) or _outdone(model))
            await self._until_news()

    async def unload(self, model: str) -> None:
        """Unload a model, resident or not, once nobody uses it; wait until its memory is back."""
        room = self._room(model)
        self._carry_out(self._core.dismissed(model, _now()))
        while room.is_dismissed or room.state is ModelState.UNLOADING:
            await self._until_news()

    def _room(self, model: str) -> Room:
        if model not in self._specs:
            known = ", ".join(self._specs)
            raise UnknownModel(
                f'no model "{model}" that can be loaded; there are {known}',
                hint=did_you_mean(model, list(self._specs)),
            )
        return self._core.rooms[model]

    async def _until_news(self) -> None:
        if self._is_closing:
            raise _closing()
        await self._news.wait()

    @asynccontextmanager
    async def lease(
        self,
        model: str,
        *,
        may_wait: bool = True,
        priority: Priority = Priority.NORMAL,
        on_ticket: Callable[[int], None] = lambda _: None,
    ) -> AsyncIterator[Lease]:
        """Hold a slot of the model for the block; leaving it in any way frees the slot at once.

        `on_ticket` hears the number by which `wait_of` knows the request. Raises the CapacityError
        that refuses it, or the EngineError of a load that failed.
        """
        if self._is_closing:
            raise _closing()
        since = _now()
        most = self._max_wait_seconds
        deadline = None if most is None else since + most
        ticket = Ticket(next(self._ticket_ids), model, since, priority, may_wait, deadline)
        on_ticket(ticket.id)
        promise = self._promises[ticket.id] = asyncio.get_running_loop().create_future()
        has_answer = False
        try:
            self._carry_out(self._core.arrived(ticket))
            engine = await promise
            if self._is_closing:
                raise _closing()
            lease = Lease(engine, self._rates.of(self._specs[model].identity))
            self._leases[ticket.id] = lease
            try:
                yield lease
            finally:
                del self._leases[ticket.id]
                has_answer = lease.end()
        finally:
            del self._promises[ticket.id]
            self._carry_out(self._core.left(ticket.id, _now(), has_answer=has_answer))

    def end_answers(self) -> None:
        """End all requests, those that wait and those that are answered: each is told why."""
        self._is_closing = True
        self._news.set()
        if self._alarm is not None:
            self._alarm.cancel()
        for promise in self._promises.values():
            if not promise.done():
                promise.set_exception(_closing())
        for lease in self._leases.values():
            lease.abort(_closing())

    async def close(self) -> None:
        """End all requests and all workers, and wait until these are gone."""
        self.end_answers()
        await self._workers.close()
        self._rates.save()

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        if self._is_closing:
            return
        for effect in effects:
            match effect:
                case Grant(ticket, model):
                    self._keep_promise(ticket, model)
                case Refuse(ticket, error):
                    self._break_promise(ticket, error)
                case Load(model):
                    self._workers.load(model)
                case Unload(model):
                    self._workers.unload(model)
                case Pin(model, size_bytes):
                    self._workers.pin(model, size_bytes)
        self._set_alarm()
        self._tell_news()

    def _heard(self, event: Callable[..., list[Effect]], *facts: object) -> None:
        """Take in what a worker has come to: an event of the core and its facts."""
        self._carry_out(event(self._core, *facts, _now()))

    def _tell_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _set_alarm(self) -> None:
        """See to it that the core is told when time alone changes something."""
        if self._alarm is not None:
            self._alarm.cancel()
        wake_at = self._core.next_wake()
        loop = asyncio.get_running_loop()
        self._alarm = None if wake_at is None else loop.call_at(wake_at, self._tick)

    def _tick(self) -> None:
        self._carry_out(self._core.ticked(_now()))

    def _keep_promise(self, ticket_id: int, model: str) -> None:
        if not (promise := self._promises[ticket_id]).done():
            promise.set_result(self._workers[model])

    def _break_promise(self, ticket_id: int, error: ModelRouterError) -> None:
        if not (promise := self._promises[ticket_id]).done():
            promise.set_exception(copy.copy(error))  # each waiter's own: it will carry a trace


def _now() -> float:
    """Return the time in seconds, on the clock of asyncio's loops: alarms are set by it.

    There need not be a loop: `modelrouter route` asks for a forecast without one.
    """
    return time.monotonic()


def _guessed_load_seconds(spec: ModelSpec) -> float:
    """Return how long a first load may take: a fast disk reads a gigabyte a second."""
    return 0.5 + spec.facts.weights_bytes / 1e9


def _outdone(model: str) -> CapacityError:
    return CapacityError(
        f"{model} was unloaded again before anybody used it",
        hint="a request for another needed its memory, or somebody unloaded it",
    )


def _closing() -> CapacityError:
    return CapacityError("the server is shutting down")
