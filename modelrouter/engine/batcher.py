"""The batcher: which tokens of which sequences ride the next pass, and what comes of it.

Pure over a Backend: no thread, no socket, no clock of its own. It knows one model and never
another.

A sequence waits for a slot, is prefilled in chunks beside the others' decode rows, then adds one
row to each pass until it ends. A free slot keeps its tokens, so that a prompt that begins the same
way only prefills the rest. Every id handed to `submit` gets exactly one Finished or Failed.
"""

import sys
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from modelrouter.engine.backend import Backend, Row, Sampler
from modelrouter.engine.protocol import Failed, Finished, Generate, Text
from modelrouter.engine.text import TextStream
from modelrouter.engine.token_log import TokenLog
from modelrouter.errors import ModelRouterError, PromptTooLong, RequestError
from modelrouter.types import Finish, Timings, Usage

Event: TypeAlias = Text | Finished | Failed

SHARED_PREFILL_ROWS = 64
"""Prompt rows in a pass that also decodes: more would make the running answers stutter."""


@dataclass(slots=True, eq=False)
class Sequence:
    """One request on its way through the model."""

    job: Generate
    prompt: list[int]
    sampler: Sampler
    text: TextStream
    submitted_at: float
    pending: list[int] = field(default_factory=list)
    """Tokens that the backend has not seen: the prompt's rest, then always the one drawn last."""
    prefilled_at: float | None = None
    cached_tokens: int = 0
    answer_tokens: int = 0
    log: TokenLog = field(default_factory=TokenLog)


@dataclass(slots=True, eq=False)
class Slot:
    """Room for one sequence in the backend, and the tokens whose KV lies there."""

    seq: int
    tokens: list[int] = field(default_factory=list)
    sequence: Sequence | None = None
    left_at_pass: int = 0


class Batcher:
    """All sequences of one model: `plan`, decode, `commit`, again and again."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        """Begin with empty slots; `clock` gives seconds for the timings."""
        self._backend = backend
        self._clock = clock
        self._slots = [Slot(seq) for seq in range(backend.slots)]
        self._waiting: deque[Sequence] = deque()
        self._rows: list[Row] = []
        self._passes = 0
        self.passing: frozenset[int] = frozenset()
        """The ids whose rows ride the pass planned last; any thread may read it."""

    @property
    def is_idle(self) -> bool:
        """True where no sequence waits or runs."""
        return not self._waiting and all(slot.sequence is None for slot in self._slots)

    def submit(self, job: Generate) -> list[Event]:
        """Take a request in; the events are its end where it is refused at once."""
        wanted = job.generation
        try:
            prompt = self._backend.tokenize(wanted.pieces)
            self._check_length(len(prompt))
            sampler = self._backend.sampler(wanted.sampling)
        except ModelRouterError as error:
            return [_failed(job, error)]
        text = TextStream(wanted.stop)
        self._waiting.append(Sequence(job, prompt, sampler, text, self._clock()))
        return []

    def cancel(self, job_id: int) -> list[Event]:
        """End a request wherever it is. One that has ended already is no error: the two crossed."""
        for sequence in self._waiting:
            if sequence.job.id == job_id:
                self._waiting.remove(sequence)
                return self._end(sequence, "cancelled")
        for slot, sequence in self._running():
            if sequence.job.id == job_id:
                return self._leave(slot, "cancelled")
        return []

    def plan(self) -> list[Row]:
        """Fill free slots from the queue; return the next pass's rows, none where all is idle."""
        while self._waiting and (slot := self._best_free_slot(self._waiting[0].prompt)):
            self._enter(slot, self._waiting.popleft())
        running = sorted(self._running(), key=lambda pair: pair[1].submitted_at)
        decoding = [pair for pair in running if len(pair[1].pending) == 1]
        rows = [row for slot, sequence in decoding for row in _next_rows(slot, sequence, 1)]
        room = min(
            self._backend.batch_rows - len(rows), SHARED_PREFILL_ROWS if rows else sys.maxsize
        )
        for slot, sequence in running:  # the oldest first, so that none is overtaken for ever
            if len(sequence.pending) > 1:
                chunk = _next_rows(slot, sequence, room)
                rows += chunk
                room -= len(chunk)
        self._rows = rows
        riding = {row.seq for row in rows}
        self.passing = frozenset(s.job.id for slot, s in running if slot.seq in riding)
        return rows

    def commit(self, *, decoded: bool) -> list[Event]:
        """Take the planned pass's outcome in; an interrupted one counts for nothing."""
        rows, self._rows, self.passing = self._rows, [], frozenset()
        self._passes += 1
        if not decoded:
            for seq in {row.seq for row in rows}:
                self._fall_back(self._slots[seq])
            return []
        for seq, fed in Counter(row.seq for row in rows).items():
            self._take(self._slots[seq], fed)
        wanted = [(row.seq, index) for index, row in enumerate(rows) if row.wants_logits]
        return [event for seq, index in wanted for event in self._advance(self._slots[seq], index)]

    def fail(self, error: ModelRouterError) -> list[Event]:
        """End every request of the planned pass with `error`: the pass failed, not an answer."""
        events: list[Event] = []
        for seq in {row.seq for row in self._rows}:
            slot = self._slots[seq]
            if slot.sequence is not None:
                events.append(_failed(slot.sequence.job, error))
                slot.sequence.sampler.close()
            slot.sequence = None
            slot.tokens = slot.tokens[: self._backend.keep(seq, 0)]
        self._rows, self.passing = [], frozenset()
        return events

    def _running(self) -> list[tuple[Slot, Sequence]]:
        return [(slot, slot.sequence) for slot in self._slots if slot.sequence is not None]

    def _check_length(self, prompt_tokens: int) -> None:
        room = self._backend.context_tokens
        if not prompt_tokens:
            raise RequestError("the prompt has no tokens")
        if prompt_tokens >= room:
            raise PromptTooLong(
                f"the prompt has {prompt_tokens:,} tokens; the model's context holds {room:,}, "
                "and the answer needs at least one of them",
                hint="shorten the prompt, raise `context` in models.toml, "
                "or name a model with a larger context",
            )

    def _best_free_slot(self, prompt: list[int]) -> Slot | None:
        """Return the free slot that shares most with the prompt, of equals the longest left."""
        free = (slot for slot in self._slots if slot.sequence is None)
        return max(free, key=lambda s: (_shared(s.tokens, prompt), -s.left_at_pass), default=None)

    def _enter(self, slot: Slot, sequence: Sequence) -> None:
        # The last prompt token is always decoded anew: its logits are what the answer begins with.
        shared = min(_shared(slot.tokens, sequence.prompt), len(sequence.prompt) - 1)
        kept = self._backend.keep(slot.seq, shared)
        slot.tokens = slot.tokens[:kept]
        slot.sequence = sequence
        sequence.cached_tokens = kept
        sequence.pending = sequence.prompt[kept:]

    def _fall_back(self, slot: Slot) -> None:
        """Bring the backend back to what it held before the interrupted pass."""
        kept = self._backend.keep(slot.seq, len(slot.tokens))
        if slot.sequence is not None:
            slot.sequence.pending = slot.tokens[kept:] + slot.sequence.pending
        slot.tokens = slot.tokens[:kept]

    def _take(self, slot: Slot, fed: int) -> None:
        """Note that the backend has seen the next `fed` tokens of the slot's sequence."""
        sequence = slot.sequence
        assert sequence is not None
        slot.tokens += sequence.pending[:fed]
        sequence.pending = sequence.pending[fed:]

    def _advance(self, slot: Slot, row: int) -> list[Event]:
        """Draw the slot's next token from the logits of `row`."""
        sequence = slot.sequence
        assert sequence is not None
        if sequence.prefilled_at is None:
            sequence.prefilled_at = self._clock()
        token = sequence.sampler.sample(row)
        if self._backend.is_end(token):
            return self._leave(slot, "stop")
        sequence.answer_tokens += 1
        sequence.pending = [token]
        if sequence.job.generation.logprobs is not None:
            logprobs = self._backend.logprobs(row, token, sequence.job.generation.logprobs)
            sequence.log.add(sequence.text.taken, logprobs)
        events = _shown(sequence, sequence.text.push(self._backend.bytes_of(token)))
        if sequence.text.stopped_by is not None:
            return events + self._leave(slot, "stop")
        is_full = len(slot.tokens) == self._backend.context_tokens
        if is_full or sequence.answer_tokens == sequence.job.generation.max_tokens:
            return events + self._leave(slot, "length")
        return events

    def _leave(self, slot: Slot, finish: Finish) -> list[Event]:
        """Free the slot; its tokens stay for a prompt that begins with them."""
        sequence, slot.sequence = slot.sequence, None
        assert sequence is not None
        slot.left_at_pass = self._passes
        return self._end(sequence, finish)

    def _end(self, sequence: Sequence, finish: Finish) -> list[Event]:
        sequence.sampler.close()
        now = self._clock()
        prefilled_at = now if sequence.prefilled_at is None else sequence.prefilled_at
        ending = _shown(sequence, sequence.text.finish(), is_last=True)
        usage = Usage(len(sequence.prompt), sequence.answer_tokens, sequence.cached_tokens)
        timings = Timings(prefilled_at - sequence.submitted_at, now - prefilled_at)
        stopped_by = sequence.text.stopped_by
        return [*ending, Finished(sequence.job.id, finish, usage, timings, stopped_by)]


def _shown(sequence: Sequence, text: str, *, is_last: bool = False) -> list[Event]:
    """Return the event that shows the text, with the chances of its tokens; none for nothing."""
    logprobs = sequence.log.release(sequence.text.shown)
    if is_last and sequence.text.stopped_by is None:
        logprobs += sequence.log.rest()
    return [Text(sequence.job.id, text, logprobs)] if text or logprobs else []


def _next_rows(slot: Slot, sequence: Sequence, most: int) -> list[Row]:
    """Return rows for the next `most` pending tokens; the very last of all wants logits."""
    start, last = len(slot.tokens), len(sequence.pending) - 1
    return [
        Row(slot.seq, start + n, token, wants_logits=n == last)
        for n, token in enumerate(sequence.pending[:most])
    ]


def _shared(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(left), len(right)))


def _failed(job: Generate, error: ModelRouterError) -> Failed:
    return Failed(job.id, error.code, error.message, error.hint)
