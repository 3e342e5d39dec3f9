"""The workers of all models: loads, unloads and pins as they are carried out, and deaths.

It does what it is told and reports every end to the core; whether a model should run is decided
there. It knows no ticket.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import Niceness
from modelrouter.errors import LoadFailed, ModelRouterError, WorkerDied
from modelrouter.memory.sizes import in_words
from modelrouter.registry import ModelSpec, refuse_changed_file
from modelrouter.scheduler.core import Core
from modelrouter.scheduler.rates import Rates
from modelrouter.scheduler.snapshot import Worker

log = logging.getLogger(__name__)

Report = Callable[..., None]
"""Called with an event of the core, such as `Core.loaded`, and its facts but for the time."""


class Workers:
    """Each model's engine, or the load that is to become one."""

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        rates: Rates,
        report: Report,
        progressed: Callable[[], None],
    ) -> None:
        """Begin with none. How long a load takes goes to `rates`."""
        self._specs = specs
        # A mapped model gives way to resident ones. Where there is none, it would to everybody else
        # on the box, for nobody's good.
        has_resident = any(spec.is_resident for spec in specs.values())
        self._niceness: Niceness | None = None if has_resident else "normal"
        self._rates = rates
        self._report = report
        self._progressed = progressed
        self._engines: dict[str, Engine] = {}
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._loaded_shares: dict[str, float] = {}
        self._pinned_shares: dict[str, float] = {}
        self._endings: set[asyncio.Task[Any]] = set()
        self._pins: set[asyncio.Task[Any]] = set()

    def __getitem__(self, model: str) -> Engine:
        """Return the engine of a loaded model."""
        return self._engines[model]

    def get(self, model: str) -> Engine | None:
        """Return the engine of a model, None where it is not loaded."""
        return self._engines.get(model)

    @property
    def pinned_bytes(self) -> int:
        """What all of them together have pinned, as they last said."""
        return sum(engine.pinned_bytes for engine in self._engines.values())

    def seen(self) -> dict[str, Worker]:
        """Return what is known of each model's worker."""
        return {name: self.seen_of(name) for name in self._specs}

    def seen_of(self, model: str) -> Worker:
        """Return what is known of one model's worker."""
        engine = self._engines.get(model)
        pid = None if engine is None else engine.pid
        return Worker(pid, self._loaded_shares.get(model), self._pinned_shares.get(model))

    def load(self, model: str) -> None:
        """Begin to load the model; `loaded` or `load_failed` is reported."""
        self._loads[model] = asyncio.create_task(self._load(model))

    def unload(self, model: str) -> None:
        """End the model's load or its worker, whichever there is; `unloaded` is reported.

        Both leave the books at once: news of their own (the load is done, the worker died) that
        comes while they are being ended must not be taken for news of the next load.
        """
        load, engine = self._forget_load(model), self._engines.pop(model, None)
        if load is not None:
            load.cancel()
        _keep(self._endings, self._see_off(model, load, engine))

    def pin(self, model: str, size_bytes: int) -> None:
        """Have the model's worker pin so much and no more; `pinned` is reported."""
        _keep(self._pins, self._pin(model, self._engines[model], size_bytes), model)

    async def close(self) -> None:
        """End them all and wait until they are gone."""
        works = [*self._loads.values(), *self._pins]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, *self._endings, return_exceptions=True)
        engines, self._engines = self._engines, {}  # off the books: these ends are no accidents
        await asyncio.gather(
            *(engine.stop() for engine in engines.values()), return_exceptions=True
        )

    async def _load(self, model: str) -> None:
        began = time.monotonic()
        try:
            spec = self._specs[model]
            await asyncio.to_thread(refuse_changed_file, spec)
            engine = await Engine.spawn(spec, self._niceness)
            await engine.load(self._progress_of(model))
        except ModelRouterError as error:
            self._load_failed(model, error)
        except Exception as error:
            log.exception("loading %s", model)
            self._load_failed(model, LoadFailed(f"{model}: {error!r}"))
        else:
            self._forget_load(model)
            self._engines[model] = engine
            self._rates.of(spec.identity).load_seconds = time.monotonic() - began
            engine.died.add_done_callback(lambda _: self._bury(model, engine))
            self._report(Core.loaded, model)

    def _progress_of(self, model: str) -> Callable[[float], None]:
        def progressed(share: float) -> None:
            self._loaded_shares[model] = share
            self._progressed()

        return progressed

    def _pin_progress_of(self, model: str, size_bytes: int) -> Callable[[int], None]:
        """Tell how far a pin is that grows; one that shrinks keeps nobody waiting."""

        def progressed(pinned_bytes: int) -> None:
            if pinned_bytes < size_bytes:
                self._pinned_shares[model] = pinned_bytes / size_bytes
                self._progressed()

        return progressed

    def _load_failed(self, model: str, error: ModelRouterError) -> None:
        self._forget_load(model)
        self._report(Core.load_failed, model, error)

    def _forget_load(self, model: str) -> asyncio.Task[None] | None:
        self._loaded_shares.pop(model, None)
        return self._loads.pop(model, None)

    async def _see_off(
        self, model: str, load: asyncio.Task[None] | None, engine: Engine | None
    ) -> None:
        if load is not None:
            await asyncio.wait([load])
        if engine is not None:
            await engine.stop()
        self._report(Core.unloaded, model)

    async def _pin(self, model: str, engine: Engine, size_bytes: int) -> None:
        """Have a worker pin so much; what it got counts, unless it has ended meanwhile."""
        try:
            pinned = await engine.pin(size_bytes, self._pin_progress_of(model, size_bytes))
        except WorkerDied:
            return  # `_bury` tells
        finally:
            self._pinned_shares.pop(model, None)
        if self._engines.get(model) is not engine:
            return
        is_newest = sum(pin.get_name() == model for pin in self._pins) == 1
        if is_newest and pinned.n_bytes < size_bytes:
            got, asked = in_words(pinned.n_bytes), in_words(size_bytes)
            log.warning("%s: %s of %s pinned: %s", model, got, asked, pinned.reason)
        self._report(Core.pinned, model, pinned.n_bytes)

    def _bury(self, model: str, engine: Engine) -> None:
        """Clear away a worker that died by itself."""
        if self._engines.get(model) is engine:
            log.warning("%s", engine.died.result())
            del self._engines[model]
            _keep(self._endings, engine.kill())
            self._report(Core.died, model, engine.died.result())


def _keep(
    tasks: set[asyncio.Task[Any]], work: Coroutine[Any, Any, None], model: str | None = None
) -> None:
    """Run the work as one of the tasks, until it is done; it is named after its model."""
    task = asyncio.create_task(work, name=model)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
