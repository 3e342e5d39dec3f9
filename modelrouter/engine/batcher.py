"""The batcher: which tokens of which sequences ride the next pass, and what comes of it.

Pure over a Backend: no thread, no socket, no clock of its own. It knows one model and never
another.

A sequence waits for a slot, is prefilled in chunks beside the others' decode rows, then adds one
row to each pass until it ends, and drafted ones where they pay (`drafts.py`). A free slot keeps its
tokens, so that a prompt that begins the same way only prefills the rest. Every id handed to
`submit` gets exactly one Finished or Failed.
"""

import sys
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TypeAlias

from modelrouter.engine.backend import Backend, Row
from modelrouter.engine.drafts import PassTimes, PromptLookup, best_length
from modelrouter.engine.protocol import Failed, Finished, Generate, Text
from modelrouter.engine.sequences import Sequence, Slot, draft_rows, next_rows, shared
from modelrouter.engine.text import TextStream
from modelrouter.errors import ModelRouterError, PromptTooLong, RequestError
from modelrouter.generation import Finish, Timings, Usage

Event: TypeAlias = Text | Finished | Failed

SHARED_PREFILL_ROWS = 64
"""Prompt rows in a pass that also decodes: more would make the running answers stutter. The same in
one with a prompt whose time is bounded, and one that only a warm-up rides: neither may take long.
"""


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
        self._times = PassTimes()
        self._decode_planned_at: float | None = None
        """When the planned pass began, where its time says what rows of answers cost."""
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
            if wanted.is_warm_up and not prompt:
                return [Finished(job.id, "length", Usage(0, 0, 0), Timings(0.0, 0.0))]
            self._check_length(len(prompt))
            sampler = self._backend.sampler(wanted.sampling, wanted.grammar)
        except ModelRouterError as error:
            return [_failed(job, error)]
        text = TextStream(wanted.stop, wanted.indent or 0)
        sequence = Sequence(job, prompt, sampler, text, self._clock())
        sequence.spelled = {
            token: spelling.encode()
            for spelling in wanted.spelled
            if (token := self._backend.token_of(spelling)) is not None
        }
        if self._backend.logit_rows > 1:
            sequence.lookup = PromptLookup(prompt)
        self._waiting.append(sequence)
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
        running = sorted(self._riders(), key=lambda pair: pair[1].submitted_at)
        rows = self._decode_rows(running)
        is_small = bool(rows) or any(sequence.is_in_a_hurry for _, sequence in running)
        room = min(
            self._backend.batch_rows - len(rows), SHARED_PREFILL_ROWS if is_small else sys.maxsize
        )
        for slot, sequence in running:  # the oldest first, so that none is overtaken for ever
            if len(sequence.pending) > 1:
                chunk = next_rows(slot, sequence, room)
                rows += chunk
                room -= len(chunk)
        self._rows = rows
        riding = {row.seq for row in rows}
        self.passing = frozenset(s.job.id for slot, s in running if slot.seq in riding)
        return rows

    def _decode_rows(self, running: list[tuple[Slot, Sequence]]) -> list[Row]:
        """Return the next row of every answer, each with as many drafted ones as pay.

        In the order of the slots: llama.cpp runs neighbours together and others in turns. Beside a
        prompt nothing is drafted; such a pass takes long enough.
        """
        decoding = sorted(
            (pair for pair in running if len(pair[1].pending) == 1), key=lambda pair: pair[0].seq
        )
        for _, sequence in running:
            sequence.guess = None
        self._decode_planned_at = None
        length = 0
        if decoding and len(decoding) == len(running) and self._backend.logit_rows > 1:
            length = self._draft_length(decoding)
            self._decode_planned_at = self._clock()
        rows: list[Row] = []
        for slot, sequence in decoding:
            rows += next_rows(slot, sequence, 1) + draft_rows(slot, sequence, length)
        return rows

    def _draft_length(self, decoding: list[tuple[Slot, Sequence]]) -> int:
        """Let each answer guess what comes next; return how much of it should ride."""
        rooms = [self._backend.context_tokens - len(slot.tokens) for slot, _ in decoding]
        rows = min(self._backend.logit_rows, self._backend.batch_rows // len(decoding), *rooms)
        for _, sequence in decoding:
            sequence.guess_next()
        return best_length([s.guess for _, s in decoding], rows - 1, self._times)

    def commit(self, *, decoded: bool) -> list[Event]:
        """Take the planned pass's outcome in; an interrupted one counts for nothing."""
        rows, self._rows, self.passing = self._rows, [], frozenset()
        self._passes += 1
        if not decoded:
            for seq in {row.seq for row in rows}:
                self._fall_back(self._slots[seq])
            return []
        if self._decode_planned_at is not None:
            self._times.learn(len(rows), self._clock() - self._decode_planned_at)
        rows_of: defaultdict[int, dict[int, Row]] = defaultdict(dict)
        for index, row in enumerate(rows):
            rows_of[row.seq][index] = row
        events = [e for seq, own in rows_of.items() for e in self._take(self._slots[seq], own)]
        now = self._clock()
        late = [slot for slot, sequence in self._running() if sequence.is_late(now)]
        return events + [event for slot in late for event in self._leave(slot, "length")]

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

    def _riders(self) -> list[tuple[Slot, Sequence]]:
        """Return who may ride the next pass: warm-ups only where nobody waits for an answer."""
        running = self._running()
        asked = [pair for pair in running if not pair[1].job.generation.is_warm_up]
        return asked or running

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
        return max(free, key=lambda s: (shared(s.tokens, prompt), -s.left_at_pass), default=None)

    def _enter(self, slot: Slot, sequence: Sequence) -> None:
        # The last prompt token is always decoded anew: its logits are what the answer begins with.
        usable = min(shared(slot.tokens, sequence.prompt), len(sequence.prompt) - 1)
        kept = self._backend.keep(slot.seq, usable)
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

    def _take(self, slot: Slot, rows: dict[int, Row]) -> list[Event]:
        """Take in what the backend has seen of the slot's sequence: `rows` by their index in the
        pass. First come pending tokens, then drafted ones, which count as long as they are right.
        """
        sequence = slot.sequence
        assert sequence is not None
        fed = min(len(rows), len(sequence.pending))
        slot.tokens += sequence.pending[:fed]
        sequence.pending = sequence.pending[fed:]
        if sequence.pending:
            return []
        held = len(slot.tokens)
        last, *drafted = list(rows)[fed - 1 :]
        events = self._advance(slot, last)
        sequence.drafted_tokens += len(drafted)
        for index in drafted:
            if slot.sequence is None or [rows[index].token] != sequence.pending:
                break
            slot.tokens += sequence.pending
            sequence.pending = []
            sequence.accepted_tokens += 1
            events += self._advance(slot, index)
        sequence.learn(slot.tokens[held:] + sequence.pending)
        if len(slot.tokens) < held + len(drafted):
            self._fall_back(slot)
        return events

    def _advance(self, slot: Slot, row: int) -> list[Event]:
        """Draw the slot's next token from the logits of `row`."""
        sequence = slot.sequence
        assert sequence is not None
        if sequence.prefilled_at is None:
            sequence.prefilled_at = self._clock()
        if sequence.job.generation.is_warm_up:
            return self._leave(slot, "length")
        try:
            token = sequence.sampler.sample(row)
        except RequestError as error:
            return self._break_off(slot, error)
        if token in sequence.job.generation.end_ids or self._backend.is_end(token):
            return self._leave(slot, "stop")
        sequence.answer_tokens += 1
        sequence.pending = [token]
        if sequence.job.generation.logprobs is not None:
            logprobs = self._backend.logprobs(row, token, sequence.job.generation.logprobs)
            sequence.log.add(sequence.text.taken, logprobs)
        data = sequence.spelled.get(token) or self._backend.bytes_of(token)
        events = _shown(sequence, sequence.text.push(data))
        if sequence.text.stopped:
            return events + self._leave(slot, "stop")
        is_full = len(slot.tokens) == self._backend.context_tokens
        if is_full or sequence.answer_tokens == sequence.job.generation.max_tokens:
            return events + self._leave(slot, "length")
        return events

    def _break_off(self, slot: Slot, error: RequestError) -> list[Event]:
        """End an answer that cannot go on; what of it was held back is lost with it."""
        *_, end = self._leave(slot, "cancelled")
        return [Failed(end.id, error.code, error.message, error.hint)]

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
        usage = Usage(
            len(sequence.prompt),
            sequence.answer_tokens,
            sequence.cached_tokens,
            sequence.drafted_tokens,
            sequence.accepted_tokens,
        )
        timings = Timings(prefilled_at - sequence.submitted_at, now - prefilled_at)
        stopped_by = sequence.text.stopped_by
        return [*ending, Finished(sequence.job.id, finish, usage, timings, stopped_by)]


def _shown(sequence: Sequence, text: str, *, is_last: bool = False) -> list[Event]:
    """Return the event that shows the text, with the chances of its tokens; none for nothing."""
    logprobs = sequence.log.release(sequence.text.shown)
    if is_last and sequence.text.stopped_by is None:
        logprobs += sequence.log.rest()
    return [Text(sequence.job.id, text, logprobs)] if text or logprobs else []


def _failed(job: Generate, error: ModelRouterError) -> Failed:
    return Failed(job.id, error.code, error.message, error.hint)
