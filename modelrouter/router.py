"""The router: the whole path of a request, on one screen.

It decides nothing and runs nothing itself: it calls the parts in order and keeps the trace.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager

from modelrouter.cache import Answer, ResultCache
from modelrouter.classifier import Classifier
from modelrouter.conversations import Conversations
from modelrouter.engine.constraint import compiled
from modelrouter.errors import DeadlineExceeded, ModelRouterError
from modelrouter.flights import Flights
from modelrouter.fresh import FreshAnswers, News
from modelrouter.generation import Delta, Done
from modelrouter.job import Job, make_job
from modelrouter.policy import Policy
from modelrouter.registry import ModelSpec
from modelrouter.reply import Reply, Route
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.trace import Trace
from modelrouter.types import Request


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
        self._fresh = FreshAnswers(specs, results, scheduler)
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
            jobs = self._jobs(route, await _grammar(request), trace)
            if (found := await self._find(jobs, trace)) is not None:
                job, answer = found
                reply = Reply.replayed(
                    answer, route, job.candidate, trace, fim=job.fim, reader=job.ready.reader()
                )
                yield reply
                self._note(request, reply.text, job)
                return
            flight = _flight_key(route, jobs)
            if flight in self._flights:
                trace.note("joined", waits_for="the same question, which somebody asks already")
            async with self._flights.join(flight, self._fresh.work(jobs, route, trace)) as news:
                job = await _boarded(news, on_ticket)
                reply = Reply(
                    _events(news),
                    route,
                    job.candidate,
                    job.cache_use,
                    trace,
                    fim=job.fim,
                    reader=job.ready.reader(),
                )
                yield reply
        self._note(request, reply.text, job)

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

    def _jobs(self, route: Route, grammar: str | None, trace: Trace) -> list[Job]:
        """Render the request for each candidate; pass over who cannot take it, if another can."""
        request, decision = route.request, route.decision
        jobs: list[Job] = []
        failures: list[ModelRouterError] = []
        for candidate in decision.candidates:
            try:
                job = make_job(
                    request,
                    candidate,
                    self._specs[candidate.model],
                    grammar=grammar,
                    without_fim=decision.without_fim,
                    has_cache=self._results is not None,
                )
            except ModelRouterError as error:
                trace.note("pass over", model=candidate.model, reason=error.message)
                failures.append(error)
            else:
                jobs.append(job)
        if not jobs:
            raise failures[0]
        if request.hole is not None:
            return jobs  # its prompt is cut to what each model's context holds
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

    async def _find(self, jobs: Sequence[Job], trace: Trace) -> tuple[Job, Answer] | None:
        """Look the candidates' answers up, in their order."""
        for job in jobs:
            if (answer := await self._stored(job)) is not None:
                trace.note("cache hit", model=job.candidate.model, saved_s=round(answer.seconds, 3))
                return job, answer
        return None

    def _note(self, request: Request, answer: str, job: Job) -> None:
        """Remember who answered the conversation; a hole is none."""
        if request.hole is None:
            self._conversations.note(request.messages, answer, job.candidate.model)

    async def _stored(self, job: Job) -> Answer | None:
        if self._results is None or job.key is None:
            return None
        return await self._results.find_aside(job.key)


async def _grammar(request: Request) -> str | None:
    """Return the request's form compiled, which is the same for all models.

    The worst form takes a fifth of a second: nobody else waits for that.
    """
    form = request.answer_format
    return None if form is None else await asyncio.to_thread(compiled, form)


def _flight_key(route: Route, jobs: Sequence[Job]) -> Hashable | None:
    """Return what two requests must have in common to be answered as one; None where nothing is."""
    if any(job.key is None for job in jobs):
        return None
    wishes = tuple((job.candidate, job.key) for job in jobs)
    request = route.request
    times = (request.prompt_seconds, request.answer_seconds)
    return (wishes, route.decision.when_full, route.prediction.task, times)


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
