"""A reply: one answer on its way to whoever asked, fresh or from the cache, and all that explains
it.

It knows where its text comes from only as a stream of events.
"""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass

from modelrouter.cache import Answer
from modelrouter.chat import AnswerReader, Part
from modelrouter.forecast import Forecast
from modelrouter.generation import Delta, Done, Finish, Timings, Usage
from modelrouter.tokens import TokenLogprobs
from modelrouter.tools import ToolCall
from modelrouter.trace import Fact, Trace
from modelrouter.types import CacheUse, Candidate, Decision, Prediction, Request


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes and why: the path up to the decision."""

    request: Request
    prediction: Prediction
    forecast: Forecast
    decision: Decision

    def to_json(self) -> dict[str, Fact]:
        """Return the explanation as plain values: field, rule, candidates with their states."""
        prediction, decision = self.prediction, self.decision
        return {
            "task": prediction.task,
            "field": prediction.field,
            "confidence": round(prediction.confidence, 4),
            "scores": {field: round(score, 4) for field, score in prediction.scores.items()},
            "runner_up": prediction.runner_up,
            "features": [
                {"text": f.text, "weight": round(f.weight, 3)} for f in prediction.features
            ],
            "rule": decision.rule,
            "policy": decision.policy,
            "when_full": decision.when_full,
            "stays": decision.stays,
            "candidates": [self._candidate(candidate) for candidate in decision.candidates],
            "skipped": [{"model": s.model, "reason": s.reason} for s in decision.skipped],
        }

    def _candidate(self, candidate: Candidate) -> Fact:
        seen, tokens = self.forecast[candidate.model], self.request.prompt_tokens
        return {
            "model": candidate.model,
            "role": candidate.role,
            "state": seen.state.value,
            "fits": seen.fits,
            "free_slots": seen.free_slots,
            "waiting": seen.waiting,
            "first_token_seconds": _rounded(seen.first_token_seconds(tokens)),
            "answer_seconds": _rounded(seen.answer_seconds(tokens, self.request.max_tokens)),
        }


class Reply:
    """Iterate it, or its `parts`, once; then `text`, `finish` and all the rest are there."""

    def __init__(
        self,
        events: AsyncIterator[Delta | Done],
        route: Route,
        candidate: Candidate,
        cache_use: CacheUse,
        trace: Trace,
        *,
        fim: str | None = None,
        reader: AnswerReader | None = None,
    ) -> None:
        """Answer with `events`: Deltas, then one Done. `fim` is the family that a hole was shown
        to, "none" where it was not shown; None where there is no hole. Without a reader all of it
        is content.
        """
        self._events = events
        self._reader = reader
        self.route = route
        self.model = candidate.model
        self.role = candidate.role
        self.cache_use = cache_use
        self.trace = trace
        self.fim = fim
        self.text = ""
        self.reasoning = ""
        self.tool_calls: list[ToolCall] = []
        self.logprobs: list[TokenLogprobs] = []
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.timings = Timings(0.0, 0.0)
        self.stopped_by: str | None = None

    @classmethod
    def replayed(
        cls,
        answer: Answer,
        route: Route,
        candidate: Candidate,
        trace: Trace,
        *,
        fim: str | None = None,
        reader: AnswerReader | None = None,
    ) -> "Reply":
        """Give a stored answer again, as a stream, with today's trace."""
        events = _events_of(answer)
        return cls(events, route, candidate, "hit", trace, fim=fim, reader=reader)

    async def __aiter__(self) -> AsyncIterator[str]:
        async for part in self.parts():
            if part.text:
                yield part.text

    async def parts(self) -> AsyncIterator[Part]:
        """Yield the answer as it comes: its text, and what there is beside that."""
        async for event in self._events:
            if part := self._read(event):
                self._take(part)
                yield part
            if isinstance(event, Done):
                self._end(event)
                return

    def _read(self, event: Delta | Done) -> Part:
        if isinstance(event, Done):
            return Part() if self._reader is None else self._reader.finish()
        if self._reader is None:
            return Part(event.text, logprobs=event.logprobs)
        return dataclasses.replace(self._reader.push(event.text), logprobs=event.logprobs)

    def _take(self, part: Part) -> None:
        if not (self.text or self.reasoning or self.tool_calls):
            self.trace.note("first text")
        self.text += part.text
        self.reasoning += part.reasoning
        self.tool_calls += part.calls
        self.logprobs += part.logprobs

    def to_json(self) -> dict[str, Fact]:
        """Return the answer's explanation as plain values, the same on every surface."""
        prediction, decision = self.route.prediction, self.route.decision
        return {
            "model": self.model,
            "role": self.role,
            "field": prediction.field,
            "confidence": round(prediction.confidence, 4),
            "rule": decision.rule,
            "policy": decision.policy,
            "cache": self.cache_use,
            "fim": self.fim,
            "finish": self.finish,
            "usage": None if self.usage is None else dataclasses.asdict(self.usage),
            "seconds": round(self.trace.elapsed_ms() / 1000, 3),
            "trace": self.trace.to_json(),
        }

    def _end(self, done: Done) -> None:
        self.finish, self.stopped_by = done.finish, done.stopped_by
        self.usage, self.timings = done.usage, done.timings
        if done.usage.drafted_tokens:
            self.trace.note(
                "drafts",
                drafted_tokens=done.usage.drafted_tokens,
                accepted_tokens=done.usage.accepted_tokens,
            )
        self.trace.note(
            "done",
            finish=done.finish,
            prompt_tokens=done.usage.prompt_tokens,
            cached_tokens=done.usage.cached_tokens,
            completion_tokens=done.usage.completion_tokens,
            prefill_ms=round(done.timings.prefill_seconds * 1000, 3),
            decode_ms=round(done.timings.decode_seconds * 1000, 3),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


async def _events_of(answer: Answer) -> AsyncIterator[Delta | Done]:
    yield Delta(answer.text, answer.logprobs)
    yield Done(answer.finish, answer.usage, Timings(0.0, 0.0), answer.stopped_by)
