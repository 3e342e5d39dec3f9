"""The composition root: the only place that makes the parts and connects them."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from platformdirs import user_state_path

from modelrouter.cache import ResultCache
from modelrouter.classifier import Classifier
from modelrouter.config import ConfigSource, Percent, Settings, load
from modelrouter.engine.footprints import measured
from modelrouter.memory import pressure
from modelrouter.memory.budget import Budget, Machine, budget, notes, read_machine
from modelrouter.memory.plan import plan
from modelrouter.memory.pressure import PressureWatch
from modelrouter.policy import Policy
from modelrouter.registry import Catalogue, catalogue
from modelrouter.router import Router
from modelrouter.scheduler.rates import Rates
from modelrouter.scheduler.scheduler import Scheduler

PRESSURE_SECONDS = 1.0
"""How often the machine's memory is looked at: a few small files of the kernel's."""


class App:
    """Everything one process needs to answer requests: `async with App.open(source) as app`.

    Opening it loads no model; leaving the block ends all workers.
    """

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        """Make the parts that these settings ask for."""
        config = settings.models_file
        self.settings = settings
        self._watching: asyncio.Task[None] | None = None
        self.machine, self.budget = find_memory(settings)
        found = measured(catalogue(settings))
        self.plan = plan(self.budget.models_bytes, found.wishes)
        self.catalogue: Catalogue = found.allotted(self.plan)
        self.policy = Policy(
            settings.policy_name,
            settings.policy_file,
            self.catalogue.roles,
            self.catalogue.reasons,
        )
        self.scheduler = Scheduler(
            self.catalogue.specs,
            self.budget.models_bytes,
            config.server.max_waiting,
            max_wait_seconds=config.server.max_wait_seconds,
            rates=Rates(Path(user_state_path("modelrouter"), "rates.json")),
        )
        self.results = ResultCache(settings.cache_directory() / "results", config.cache.size_bytes)
        self.router = Router(
            self.catalogue.specs,
            classifier,
            self.policy,
            self.results if config.cache.enabled else None,
            self.scheduler,
        )

    @classmethod
    def open(cls, source: ConfigSource, policy: str | None = None) -> Self:
        """Make the app of a models.toml; `policy` in place of the one it names. ConfigError says
        what is wrong.
        """
        classifier = Classifier.load()
        return cls(load(source, policy, fields=classifier.fields), classifier)

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know of the memory, in words."""
        return notes(self.machine, self.budget)

    async def __aenter__(self) -> Self:
        if any(not spec.is_resident for spec in self.catalogue.specs.values()):
            rule = pressure.Rule(self.budget.reserve_bytes)
            watch = PressureWatch(
                rule, lambda: self.scheduler.pinned_bytes, self.scheduler.limit_pins
            )
            ticks = pressure.every(PRESSURE_SECONDS)
            self._watching = asyncio.create_task(watch.run(ticks))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        await self.scheduler.close()
        self.results.close()


def find_memory(settings: Settings) -> tuple[Machine, Budget]:
    """Return what the machine says of its memory, and what the models may have of it.

    ConfigError where the reserve leaves nothing.
    """
    machine, table = read_machine(), settings.models_file.budget
    ram = table.ram.of(machine.installed_bytes) if isinstance(table.ram, Percent) else table.ram
    return machine, budget(machine, ram, table.reserve_bytes)
