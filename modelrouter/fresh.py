"""A fresh answer: a slot of the first model that has one, the answer as it comes, and its keeping.

It knows jobs that are ready, in the order in which they are to be tried, not why in that order.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

from modelrouter.cache import Answer, ResultCache
from modelrouter.errors import CapacityError, EngineError
from modelrouter.flights import Work
from modelrouter.generation import Delta, Done, Generation, Timings, Usage
from modelrouter.job import Job
from modelrouter.registry import ModelSpec
from modelrouter.reply import Route
from modelrouter.scheduler.effects import Priority
from modelrouter.scheduler.lease import Lease
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.trace import Fact, Trace
from modelrouter.types import Task

PRIORITIES: Mapping[Task, Priority] = {
    "completion": Priority.INTERACTIVE,
    "chat": Priority.NORMAL,
    "background": Priority.BACKGROUND,
}
"""Who goes first where several wait for a slot."""


News: TypeAlias = int | Job | Delta | Done
"""What comes of a flight: the lines it stands in, the job that got a slot, the answer."""


class FreshAnswers:
    """Has models answer, each request as work that several may follow."""

    def __init__(
        self, specs: Mapping[str, ModelSpec], results: ResultCache | None, scheduler: Scheduler
    ) -> None:
        """Have the models of `scheduler` answer; whole answers are kept in `results`."""
        self._specs = specs
        self._results = results
        self._scheduler = scheduler

    def work(self, jobs: Sequence[Job], route: Route, trace: Trace) -> Work[News]:
        """Return the work of answering: a slot, the answer as it comes, and its keeping."""

        async def work(tell: Callable[[News], None]) -> None:
            async with self._lease_first(jobs, route, trace, tell) as (job, lease):
                tell(job)
                deltas: list[Delta] = []
                stream: AsyncIterator[Delta | Done] = lease.generate(job.generation)
                if job.generation.is_warm_up:
                    stream = _while_nobody_waits(stream, self._scheduler, job.candidate.model)
                async for event in stream:
                    if isinstance(event, Delta):
                        deltas.append(event)
                    elif not _is_cut(event, job.generation):
                        self._keep(job, deltas, event, trace)
                    tell(event)

        return work

    def _keep(self, job: Job, deltas: Sequence[Delta], done: Done, trace: Trace) -> None:
        if self._results is not None and job.key is not None:
            answer = Answer.of(deltas, done, trace.elapsed_ms() / 1000)
            self._results.store_soon(job.key, answer)

    @asynccontextmanager
    async def _lease_first(
        self,
        jobs: Sequence[Job],
        route: Route,
        trace: Trace,
        on_ticket: Callable[[int], None],
    ) -> AsyncIterator[tuple[Job, Lease]]:
        """Lease a slot for the first job that gets one; the last in line always waits.

        Only `when_full = "next"` goes on to the next: a fallback is written in the policy or it
        does not happen.
        """
        priority = _priority(route)
        for job in jobs:
            model = job.candidate.model
            may_go_on = route.decision.when_full == "next" and job is not jobs[-1]
            since_ms = trace.elapsed_ms()
            async with AsyncExitStack() as block:
                try:
                    lease = await block.enter_async_context(
                        self._scheduler.lease(
                            model,
                            may_wait=not may_go_on,
                            priority=priority,
                            on_ticket=on_ticket,
                        )
                    )
                except (CapacityError, EngineError) as error:
                    trace.note(
                        "refused",
                        model=model,
                        code=error.code,
                        reason=error.message,
                        waited_ms=_since(since_ms, trace),
                    )
                    if not may_go_on:
                        raise
                    continue
                waited_ms = _since(since_ms, trace)
                trace.note("lease", model=model, waited_ms=waited_ms, **self._narrowed(model))
                yield job, lease
                return

    def _narrowed(self, model: str) -> dict[str, Fact]:
        """Return what a model got where the budget did not allow all that it would have."""
        spec = self._specs[model]
        narrowed = {"context_tokens": spec.context_tokens, "slots": spec.slots}
        return {"narrowed": dict(narrowed)} if spec.is_narrowed else {}


async def _while_nobody_waits(
    stream: AsyncIterator[Delta | Done], scheduler: Scheduler, model: str
) -> AsyncIterator[Delta | Done]:
    """Yield a warm-up's end, which comes at once where anybody waits for the model.

    What it has read by then is not lost: the slot keeps it.
    """
    end = asyncio.ensure_future(anext(stream))
    try:
        while not end.done():
            news = asyncio.ensure_future(scheduler.news())
            await asyncio.sleep(0)  # it listens from here on, so that no news is missed
            if scheduler.forecast()[model].waiting:
                news.cancel()
                yield Done("length", Usage(0, 0, 0), Timings(0.0, 0.0))
                return
            await asyncio.wait([end, news], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        yield await end
    finally:
        end.cancel()


def _is_cut(done: Done, generation: Generation) -> bool:
    """Tell whether an answer ended before its time, and says nothing about what it would be."""
    is_timed = (generation.prompt_seconds, generation.answer_seconds) != (None, None)
    is_full = done.usage.completion_tokens == generation.max_tokens
    return done.finish == "cancelled" or (done.finish == "length" and is_timed and not is_full)


def _since(start_ms: float, trace: Trace) -> float:
    return round(trace.elapsed_ms() - start_ms, 3)


def _priority(route: Route) -> Priority:
    """Return how urgent the request is; nobody waits for a warm-up."""
    return Priority.BACKGROUND if route.request.is_warm_up else PRIORITIES[route.prediction.task]
