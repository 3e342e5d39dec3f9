"""The scheduler: carries the core's decisions out with real workers, and hands out leases.

It owns the engines. It decides nothing itself: every event goes to `core.Core`, every effect that
comes back is carried out here. It counts bytes and slots and never sees a token.
"""

import asyncio
import copy
import itertools
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from modelrouter.engine.process import Engine, Stream
from modelrouter.errors import CapacityError, LoadFailed, ModelRouterError
from modelrouter.registry import ModelSpec, refuse_changed_file
from modelrouter.scheduler.core import Core, Effect, Grant, Load, Needs, Refuse, Ticket, Unload
from modelrouter.types import Forecast, Piece, Sampling

log = logging.getLogger(__name__)


class Lease:
    """A slot of a loaded model, held for one request."""

    def __init__(self, engine: Engine) -> None:
        """Hold a slot of `engine`."""
        self._engine = engine
        self._stream: Stream | None = None

    def generate(
        self,
        pieces: Sequence[Piece],
        *,
        max_tokens: int | None,
        stop: Sequence[str],
        sampling: Sampling,
    ) -> Stream:
        """Start the answer. It is stopped when the lease ends, if it has not ended itself."""
        self._stream = self._engine.submit(
            pieces, max_tokens=max_tokens, stop=stop, sampling=sampling
        )
        return self._stream

    def end(self) -> None:
        """Stop what still runs."""
        if self._stream is not None:
            self._stream.cancel()


class Scheduler:
    """Leases on the slots of models, inside one memory budget."""

    def __init__(self, specs: Mapping[str, ModelSpec], budget_bytes: int, max_waiting: int) -> None:
        """Manage these models; none is loaded before it is asked for."""
        needs = {
            name: Needs(spec.footprint.total_bytes, spec.slots, spec.is_resident)
            for name, spec in specs.items()
        }
        self._specs = specs
        self._core = Core(needs, budget_bytes, max_waiting)
        self._engines: dict[str, Engine] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._promises: dict[int, asyncio.Future[Engine]] = {}
        self._ticket_ids = itertools.count()
        self._is_closing = False

    def forecast(self) -> Forecast:
        """Return each model's state as of now: advisory."""
        return self._core.forecast()

    def warm(self) -> None:
        """Begin to load the resident models."""
        for name, spec in self._specs.items():
            if spec.is_resident:
                self._carry_out(self._core.warmed(name))

    @asynccontextmanager
    async def lease(self, model: str, *, may_wait: bool = True) -> AsyncIterator[Lease]:
        """Hold a slot of the model for the block; leaving it in any way frees the slot at once.

        Raises the CapacityError that refuses it, or the EngineError of a load that failed.
        """
        if self._is_closing:
            raise _closing()
        ticket = Ticket(next(self._ticket_ids), model, may_wait)
        promise = self._promises[ticket.id] = asyncio.get_running_loop().create_future()
        try:
            self._carry_out(self._core.arrived(ticket))
            lease = Lease(await promise)
            try:
                yield lease
            finally:
                lease.end()
        finally:
            del self._promises[ticket.id]
            self._carry_out(self._core.left(ticket.id))

    async def close(self) -> None:
        """End all workers and wait until they are gone; who still waits for a slot is told."""
        self._is_closing = True
        for promise in self._promises.values():
            if not promise.done():
                promise.set_exception(_closing())
        loads = list(self._loads.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, *self._endings, return_exceptions=True)
        engines, self._engines = self._engines, {}  # off the books: these ends are no accidents
        await asyncio.gather(
            *(engine.stop() for engine in engines.values()), return_exceptions=True
        )

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
                    self._loads[model] = asyncio.create_task(self._load(model))
                case Unload(model):
                    self._unload(model)

    def _keep_promise(self, ticket_id: int, model: str) -> None:
        if not (promise := self._promises[ticket_id]).done():
            promise.set_result(self._engines[model])

    def _break_promise(self, ticket_id: int, error: ModelRouterError) -> None:
        if not (promise := self._promises[ticket_id]).done():
            promise.set_exception(copy.copy(error))  # each waiter's own: it will carry a trace

    async def _load(self, model: str) -> None:
        try:
            spec = self._specs[model]
            await asyncio.to_thread(refuse_changed_file, spec)
            engine = await Engine.start(spec)
        except ModelRouterError as error:
            self._load_failed(model, error)
        except Exception as error:
            log.exception("loading %s", model)
            self._load_failed(model, LoadFailed(f"{model}: {error!r}"))
        else:
            del self._loads[model]
            self._engines[model] = engine
            engine.died.add_done_callback(lambda _: self._bury(model, engine))
            self._carry_out(self._core.loaded(model))

    def _load_failed(self, model: str, error: ModelRouterError) -> None:
        del self._loads[model]
        self._carry_out(self._core.load_failed(model, error))

    def _unload(self, model: str) -> None:
        """End the model's load or its worker, whichever there is.

        Both leave the books at once: news of their own (the load is done, the worker died) that
        comes while they are being ended must not be taken for news of the next load.
        """
        load, engine = self._loads.pop(model, None), self._engines.pop(model, None)
        if load is not None:
            load.cancel()
        self._end(self._see_off(model, load, engine))

    async def _see_off(
        self, model: str, load: asyncio.Task[None] | None, engine: Engine | None
    ) -> None:
        if load is not None:
            await asyncio.wait([load])
        if engine is not None:
            await engine.stop()
        self._carry_out(self._core.unloaded(model))

    def _bury(self, model: str, engine: Engine) -> None:
        """Clear away a worker that died by itself."""
        if self._engines.get(model) is engine:
            log.warning("%s", engine.died.result())
            del self._engines[model]
            self._end(engine.kill())
            self._carry_out(self._core.unloaded(model))

    def _end(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


def _closing() -> CapacityError:
    return CapacityError("the server is shutting down")
