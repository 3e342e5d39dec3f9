"""The router: the whole path of a request, on one screen.

It decides nothing and runs nothing itself: it calls the parts in order and keeps the trace.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from modelrouter.cache import Answer, ResultCache, answer_key
from modelrouter.classifier import Classifier
from modelrouter.conversations import Conversations
from modelrouter.engine.prompt import refuse_hopeless, render
from modelrouter.errors import (
    BadModelFile,
    CapacityError,
    DeadlineExceeded,
    EngineError,
    ModelRouterError,
)
from modelrouter.flights import Flights, Work
from modelrouter.policy import Policy
from modelrouter.registry import ModelSpec
from modelrouter.reply import Reply, Route
from modelrouter.scheduler.effects import Priority
from modelrouter.scheduler.lease import Lease
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.trace import Fact, Trace
from modelrouter.types import (
    CacheUse,
    Candidate,
    Decision,
    Delta,
    Done,
    Generation,
    Request,
    Task,
)

PRIORITIES: Mapping[Task, Priority] = {
    "completion": Priority.INTERACTIVE,
    "chat": Priority.NORMAL,
    "background": Priority.BACKGROUND,
}
"""Who goes first where several wait for a slot."""


@dataclass(frozen=True, slots=True)
class Job:
    """The request made ready for one candidate.

    `key` None: its answer is this caller's alone, another time there may be another. `cache_use` is
    how the cache was used where the answer was not in it.
    """

    candidate: Candidate
    generation: Generation
    key: str | None
    cache_use: CacheUse


News: TypeAlias = int | Job | Delta | Done
"""What comes of a flight: the lines it stands in, the job that got a slot, the answer."""


class Router:
    """Answers requests with the model that suits them."""

    def __init__(
        self,
        specs: Mapping[str, ModelSpec],
        classifier: Classifier,
        policy: Policy,
        results: ResultCache | None,
        scheduler: Scheduler,
    ) -> None:
        """Connect the parts; `app.py` makes them."""
        self._specs = specs
        self._classifier = classifier
        self._policy = policy
        self._results = results
        self._scheduler = scheduler
        self._conversations = Conversations()
        self._flights: Flights[News] = Flights()

    @asynccontextmanager
    async def ask(
        self,
        request: Request,
        on_ticket: Callable[[int], None] = lambda _: None,
        trace: Trace | None = None,
    ) -> AsyncIterator[Reply]:
        """Answer the request: `async with router.ask(request) as reply`, then iterate the reply.

        Leaving the block stops the work at once. Every ModelRouterError carries the trace so far.
        `on_ticket` hears each line that the request joins, as `Scheduler.lease` tells it. `trace`
        is the caller's own where it reads it while the answer is on its way.
        """
        trace = Trace() if trace is None else trace
        async with _bounded(request.seconds, trace):
            route = self.route(request, trace)
            jobs = self._jobs(request, route.decision, trace)
            if (found := await self._find(jobs, trace)) is not None:
                job, answer = found
                self._conversations.note(request.messages, answer.text, job.candidate.model)
                yield Reply.replayed(answer, route, job.candidate, trace)
                return
            flight = _flight_key(route, jobs)
            if flight in self._flights:
                trace.note("joined", waits_for="the same question, which somebody asks already")
            async with self._flights.join(flight, self._answer(jobs, route, trace)) as news:
                job = await _boarded(news, on_ticket)
                reply = Reply(_events(news), route, job.candidate, job.cache_use, trace)
                yield reply
        self._conversations.note(request.messages, reply.text, reply.model)

    def route(self, request: Request, trace: Trace) -> Route:
        """Classify the request and let the policy choose: the path up to the decision."""
        prediction = self._classifier.predict(request)
        trace.note(
            "classify",
            field=prediction.field,
            confidence=round(prediction.confidence, 4),
            task=prediction.task,
        )
        forecast = self._scheduler.forecast()
        answered_by = self._conversations.answered_by(request.messages)
        decision = self._policy.decide(request, prediction, forecast, answered_by)
        trace.note(
            "decide",
            policy=decision.policy,
            rule=decision.rule,
            candidates=[candidate.model for candidate in decision.candidates],
            skipped={skipped.model: skipped.reason for skipped in decision.skipped},
            stays=decision.stays,
        )
        return Route(request, prediction, forecast, decision)

    def _jobs(self, request: Request, decision: Decision, trace: Trace) -> list[Job]:
        """Render the request for each candidate; pass over who cannot take it, if another can."""
        jobs: list[Job] = []
        failures: list[ModelRouterError] = []
        for candidate in decision.candidates:
            try:
                jobs.append(self._job(request, candidate))
            except ModelRouterError as error:
                trace.note("pass over", model=candidate.model, reason=error.message)
                failures.append(error)
        if not jobs:
            raise failures[0]
        return self._those_with_room(request.prompt_tokens, jobs, trace)

    def _those_with_room(self, prompt_tokens: int, jobs: list[Job], trace: Trace) -> list[Job]:
        """Pass over models whose context is too small by all appearances, if another's is not.

        The count is a guess, so nobody is refused by it: the model itself counts exactly.
        """
        roomy = [j for j in jobs if prompt_tokens < self._specs[j.candidate.model].context_tokens]
        for job in jobs if roomy else ():
            if job not in roomy:
                context = self._specs[job.candidate.model].context_tokens
                reason = f"about {prompt_tokens:,} tokens do not fit its context of {context:,}"
                trace.note("pass over", model=job.candidate.model, reason=reason)
        return roomy or jobs

    def _job(self, request: Request, candidate: Candidate) -> Job:
        spec = self._specs[candidate.model]
        try:
            pieces = render(request, spec.chat)
            refuse_hopeless(pieces, spec)
        except BadModelFile as error:
            raise BadModelFile(f"{spec.name}: {error.message}", hint=error.hint) from error
        sampling = dataclasses.replace(spec.sampling, **request.sampling)
        generation = Generation(
            pieces, sampling, request.max_tokens, request.stop, request.logprobs
        )
        is_shared = request.use_cache and sampling.is_repeatable
        key = answer_key(spec.identity, generation) if is_shared else None
        is_cached = self._results is not None and key is not None
        return Job(candidate, generation, key, "miss" if is_cached else "bypass")

    async def _find(self, jobs: Sequence[Job], trace: Trace) -> tuple[Job, Answer] | None:
        """Look the candidates' answers up, in their order."""
        for job in jobs:
            if (answer := await self._stored(job)) is not None:
                trace.note("cache hit", model=job.candidate.model, saved_s=round(answer.seconds, 3))
                return job, answer
        return None

    def _answer(self, jobs: Sequence[Job], route: Route, trace: Trace) -> Work[News]:
        """Return the work of answering: a slot, the answer as it comes, and its keeping."""

        async def work(tell: Callable[[News], None]) -> None:
            async with self._lease_first(jobs, route, trace, tell) as (job, lease):
                tell(job)
                deltas: list[Delta] = []
                async for event in lease.generate(job.generation):
                    if isinstance(event, Delta):
                        deltas.append(event)
                    elif event.finish != "cancelled":
                        self._keep(job, Answer.of(deltas, event, trace.elapsed_ms() / 1000))
                    tell(event)

        return work

    def _keep(self, job: Job, answer: Answer) -> None:
        if self._results is not None and job.key is not None:
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
        priority = PRIORITIES[route.prediction.task]
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

    async def _stored(self, job: Job) -> Answer | None:
        if self._results is None or job.key is None:
            return None
        return await self._results.find_aside(job.key)


def _flight_key(route: Route, jobs: Sequence[Job]) -> Hashable | None:
    """Return what two requests must have in common to be answered as one; None where nothing is."""
    if any(job.key is None for job in jobs):
        return None
    wishes = tuple((job.candidate, job.key) for job in jobs)
    return (wishes, route.decision.when_full, route.prediction.task)


async def _boarded(news: AsyncIterator[News], on_ticket: Callable[[int], None]) -> Job:
    """Wait for the job that gets a slot; `on_ticket` hears of the lines until then."""
    while not isinstance(item := await anext(news), Job):
        assert isinstance(item, int)
        on_ticket(item)
    return item


async def _events(news: AsyncIterator[News]) -> AsyncIterator[Delta | Done]:
    """Yield what comes after the boarding."""
    async for item in news:
        assert isinstance(item, Delta | Done)
        yield item


def _since(start_ms: float, trace: Trace) -> float:
    return round(trace.elapsed_ms() - start_ms, 3)


@asynccontextmanager
async def _bounded(seconds: float | None, trace: Trace) -> AsyncIterator[None]:
    """End the block when its time is up, and give every error the trace."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except ModelRouterError as error:
        error.trace = trace
        raise
    except TimeoutError:
        if not limit.expired():
            raise
        late = DeadlineExceeded(
            f"the time limit of {seconds:g} s was up before the answer was whole",
            hint="allow more time, lower max_tokens, or name a smaller model",
        )
        late.trace = trace
        raise late from None
