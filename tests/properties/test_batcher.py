"""Whatever comes when, every request gets its whole answer, and no pass breaks the backend's rules.

The machine submits, cancels, and lets passes succeed, be interrupted half-way or fail, in any
order. It checks the planned rows before each pass and every event after it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelrouter.engine.backend import EchoBackend, Row, Sampler
from modelrouter.engine.batcher import SHARED_PREFILL_ROWS, Batcher, Event
from modelrouter.engine.batcher import Sequence as Running
from modelrouter.engine.protocol import Failed, Finished, Generate, Text
from modelrouter.errors import EngineError
from modelrouter.generation import Generation, Piece
from modelrouter.types import Sampling


class CountingBackend(EchoBackend):
    """An EchoBackend that counts its open samplers, and may forget more than it is told to.

    So do models with a sliding window or a recurrent state: they cannot go back to what they have
    dropped, and an interrupted pass spoils what they held.
    """

    open_samplers = 0
    is_forgetful = False

    def __init__(self, slots: int, context_tokens: int, batch_rows: int, logit_rows: int) -> None:
        """Make room for `slots` sequences."""
        super().__init__(
            slots=slots,
            context_tokens=context_tokens,
            batch_rows=batch_rows,
            logit_rows=logit_rows,
        )
        self._spoiled: set[int] = set()

    def decode(self, rows: Sequence[Row]) -> bool:
        """Run a pass; an interrupted one spoils its sequences."""
        done = super().decode(rows)
        self._spoiled |= set() if done else {row.seq for row in rows}
        return done

    def keep(self, seq: int, length: int) -> int:
        """Forget the rest, and half of what was to be kept where that is in this model's nature."""
        held = len(self._tokens[seq]) + (seq in self._spoiled)
        self._spoiled.discard(seq)
        return super().keep(seq, self.left(held, length))

    def left(self, held: int, length: int) -> int:
        """Return how many of `held` tokens are left where `length` are to be kept."""
        return length // 2 if self.is_forgetful and length < held else min(length, held)

    def sampler(self, sampling: Sampling, grammar: str | None = None) -> Sampler:
        """Return a sampler that is counted until it is closed."""
        self.open_samplers += 1
        return CountedSampler(self, super().sampler(sampling, grammar))


class CountedSampler:
    """A sampler that tells its backend when it is closed."""

    def __init__(self, backend: CountingBackend, sampler: Sampler) -> None:
        """Draw as `sampler` does."""
        self._backend = backend
        self._sampler = sampler

    def sample(self, row: int) -> int:
        """Draw a token."""
        return self._sampler.sample(row)

    def close(self) -> None:
        """Count one less."""
        self._backend.open_samplers -= 1


@dataclass
class Request:
    """What the machine asked for, and what has come of it."""

    job: Generate
    text: str = ""
    ends: list[Event] = field(default_factory=list)

    @property
    def prompt(self) -> bytes:
        """The bytes that the EchoBackend answers with."""
        return self.job.generation.pieces[0].text.encode()


@dataclass(frozen=True)
class Answer:
    """An answer that nobody cut short."""

    text: str
    tokens: int
    finish: str


def expected_answer(request: Request, context_tokens: int) -> Answer:
    """Return the echo of the prompt, cut by the context, `max_tokens` and the stop strings."""
    prompt, job = request.prompt, request.job
    room = context_tokens - len(prompt)  # the prompt's ASK takes one, the last token drawn none
    most = min(room, job.generation.max_tokens or room)
    for tokens in range(1, min(len(prompt), most) + 1):
        text = prompt[:tokens].decode(errors="ignore")
        if ends := [len(stop) for stop in job.generation.stop if text.endswith(stop)]:
            return Answer(text[: -max(ends)], tokens, "stop")
    finish = "stop" if len(prompt) < most else "length"
    return Answer(prompt[:most].decode(errors="replace"), min(len(prompt), most), finish)


def shared(left: Sequence[int], right: Sequence[int]) -> int:
    """Return the length of the longest common prefix."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))))


words = st.sampled_from(["a", "ab", "abc", "é🦙", "a\n"])
long_texts = st.builds(
    lambda word, times, end: word * times + end, words, st.integers(0, 90), words
)
texts = long_texts | st.lists(words, max_size=4).map("".join)
stops = st.lists(st.sampled_from(["b", "ba", "c", "🦙", "\n", "aa"]), max_size=2).map(tuple)
max_tokens = st.none() | st.integers(1, 12)


class BatcherMachine(RuleBasedStateMachine):
    """A batcher over an EchoBackend of any size, and everything a worker does with it."""

    def __init__(self) -> None:
        """Begin with the smallest batcher; `begin` draws another."""
        super().__init__()
        self.requests: dict[int, Request] = {}
        self.begin(1, 4, 0, 1, 1.0, is_forgetful=False)

    @initialize(
        slots=st.integers(1, 4),
        context_tokens=st.sampled_from([256, 256, 16, 4]),
        extra_rows=st.sampled_from([150, 150, 5, 1, 0]),
        logit_rows=st.sampled_from([1, 2, 5, 16, 16]),
        row_seconds=st.sampled_from([0.0, 0.0, 0.01, 1.0]),
        is_forgetful=st.booleans(),
    )
    def begin(
        self,
        slots: int,
        context_tokens: int,
        extra_rows: int,
        logit_rows: int,
        row_seconds: float,
        *,
        is_forgetful: bool,
    ) -> None:
        """Start with empty slots; a pass always has a row for each, and each takes its time."""
        rows = slots + extra_rows
        self.backend = CountingBackend(slots, context_tokens, rows, logit_rows)
        self.backend.is_forgetful = is_forgetful
        self.row_seconds = row_seconds
        self.seconds = 0.0
        self.batcher = Batcher(self.backend, clock=self.look)

    def look(self) -> float:
        """Return the time, which never stands still."""
        self.seconds += 0.001
        return self.seconds

    # ---- what may happen -----------------------------------------------------------------------

    @rule(text=texts, max_tokens=max_tokens, stop=stops)
    def submit(self, text: str, max_tokens: int | None, stop: tuple[str, ...]) -> None:
        """A request comes; only an empty and a too long one are refused, and at once."""
        job_id = len(self.requests)
        prompt = (Piece(text, special=False),)
        job = Generate(job_id, Generation(prompt, Sampling(), max_tokens, stop))
        request = self.requests[job_id] = Request(job)
        self.take(self.batcher.submit(job))
        tokens, room = (
            len(self.backend.tokenize(job.generation.pieces)),
            self.backend.context_tokens,
        )
        refused = {0: "bad_request"}.get(tokens, "prompt_too_long" if tokens >= room else None)
        assert [end.code for end in request.ends if isinstance(end, Failed)] == (
            [refused] if refused else []
        )

    @rule(back=st.integers(-1, 6))
    def cancel(self, back: int) -> None:
        """Any request is cancelled, at any time: waiting, running, over or never heard of."""
        number = len(self.requests) - 1 - back
        request = self.requests.get(number)
        was_open = request is not None and not request.ends
        events = self.batcher.cancel(number)
        self.take(events)
        assert bool(events) == was_open
        if was_open:
            assert isinstance(events[-1], Finished)
            assert events[-1].finish == "cancelled"

    @precondition(lambda self: not self.batcher.is_idle)
    @rule(times=st.sampled_from([1, 1, 2, 10, 300]))
    def passes(self, times: int) -> None:
        """Passes succeed; each gives the next token of who is through its prompt, or more."""
        for _ in range(times):
            if not self.batcher.is_idle:
                assert self.backend.decode(self.plan())
                self.take(self.batcher.commit(decoded=True))
                assert self.batcher.passing == frozenset()

    @precondition(lambda self: not self.batcher.is_idle)
    @rule(done=st.floats(0, 1, exclude_max=True))
    def interrupted_pass(self, done: float) -> None:
        """A pass is interrupted; like llama.cpp the backend may have taken some rows in."""
        rows = self.plan()
        taken = int(done * len(rows))
        if taken:
            assert self.backend.decode(rows[:taken])
        self.backend.interrupt()
        assert not self.backend.decode(rows[taken:])
        assert self.batcher.commit(decoded=False) == []
        assert self.batcher.passing == frozenset()

    @precondition(lambda self: not self.batcher.is_idle)
    @rule(taken=st.integers(0, 10))
    def failed_pass(self, taken: int) -> None:
        """Decoding fails: those that rode the pass end with the error, the others go on."""
        if rows := self.plan()[:taken]:
            assert self.backend.decode(rows)
        riding = set(self.batcher.passing)
        events = self.batcher.fail(EngineError("the backend broke", hint="mend it"))
        assert {event.id for event in events} == riding
        assert all(
            event == Failed(event.id, "engine_failed", "the backend broke", "mend it")
            for event in events
        )
        self.take(events)

    @precondition(lambda self: not self.batcher.is_idle)
    @rule()
    def pass_for_nobody(self) -> None:
        """A pass is planned and not run, as when all who ride it have cancelled meanwhile."""
        self.plan()

    # ---- what must hold ------------------------------------------------------------------------

    def plan(self) -> list[Row]:
        """Plan a pass and check everything about it."""
        slots = self.batcher._slots
        before = {slot.seq: list(slot.tokens) for slot in slots if slot.sequence is None}
        rows = self.batcher.plan()
        self.check_entries(before)
        self.check_rows(rows)
        self.seconds += len(rows) * self.row_seconds
        return rows

    def check_entries(self, free: dict[int, list[int]]) -> None:
        """Check that requests enter in order, each the free slot that shares most with it."""
        running = {slot.seq: s for slot, s in self.batcher._running()}
        entered = sorted((s.job.id, seq) for seq, s in running.items() if seq in free)
        for _, seq in entered:
            sequence = running[seq]
            usable = {
                each: min(shared(tokens, sequence.prompt), len(sequence.prompt) - 1)
                for each, tokens in free.items()
            }
            assert usable[seq] == max(usable.values())
            assert sequence.cached_tokens == self.backend.left(len(free.pop(seq)), usable[seq])
        waiting = [sequence.job.id for sequence in self.batcher._waiting]
        assert not (waiting and free), "a request waits beside a free slot"
        assert all(job_id < min(waiting, default=job_id + 1) for job_id, _ in entered)

    def check_rows(self, rows: list[Row]) -> None:
        """Check a pass's size, its order and who rides it."""
        assert 0 < len(rows) <= self.backend.batch_rows
        running = {slot.seq: s for slot, s in self.batcher._running()}
        rows_of = Counter(row.seq for row in rows)
        assert {running[seq].job.id for seq in rows_of} == self.batcher.passing
        for seq, number in rows_of.items():
            held = len(self.backend._tokens[seq])
            own = [row for row in rows if row.seq == seq]
            assert [row.position for row in own] == list(range(held, held + number))
            pending = running[seq].pending
            known = [row.token for row in own[: len(pending)]]
            assert known == pending[:number]
            wanted = [row.wants_logits for row in own]
            assert wanted == [len(pending) <= place for place in range(1, number + 1)]
            assert sum(wanted) <= self.backend.logit_rows
            assert number <= len(pending) or len(pending) == 1, "a prompt with drafts"
        self.check_shares(rows_of, running)

    def check_shares(self, rows_of: Counter[int], running: dict[int, Running]) -> None:
        """Check that nobody's next token waits for a prompt, and the oldest prompt for no other."""
        prefilling = sorted(
            (s.job.id, seq, len(s.pending)) for seq, s in running.items() if len(s.pending) > 1
        )
        decoding = [seq for seq, s in running.items() if len(s.pending) == 1]
        assert len({rows_of[seq] for seq in decoding}) <= 1, "unequal rows"
        if prefilling:
            assert all(rows_of[seq] == 1 for seq in decoding)
        room = self.backend.batch_rows - len(decoding)
        if decoding:
            room = min(room, SHARED_PREFILL_ROWS)
        for _, seq, pending in prefilling:
            assert rows_of[seq] == min(room, pending)
            room -= rows_of[seq]

    def take(self, events: Sequence[Event]) -> None:
        """Check each event against the request it is for."""
        for event in events:
            assert event.id is not None
            request = self.requests[event.id]
            assert not request.ends, "an event after the end"
            if isinstance(event, Text):
                assert event.text
                request.text += event.text
                continue
            request.ends.append(event)
            if isinstance(event, Finished):
                self.check_answer(request, event)

    def check_answer(self, request: Request, end: Finished) -> None:
        """Check a finished answer's text, counts and times."""
        answer = expected_answer(request, self.backend.context_tokens)
        assert end.usage.prompt_tokens == len(request.prompt) + 1
        assert end.usage.cached_tokens < end.usage.prompt_tokens
        assert 0 <= end.usage.accepted_tokens <= end.usage.drafted_tokens
        assert end.timings.prefill_seconds > 0
        assert end.timings.decode_seconds >= 0
        if end.finish == "cancelled":
            cut = request.prompt[: end.usage.completion_tokens].decode(errors="replace")
            assert end.usage.completion_tokens < answer.tokens or answer.finish == "stop"
            assert request.text == cut
        else:
            assert (request.text, end.usage.completion_tokens, end.finish) == (
                answer.text,
                answer.tokens,
                answer.finish,
            )

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every request is over or on its way, and holds a sampler only while it is."""
        open_ids = {job_id for job_id, request in self.requests.items() if not request.ends}
        on_their_way = [s.job.id for s in self.batcher._waiting]
        on_their_way += [s.job.id for _, s in self.batcher._running()]
        assert sorted(on_their_way) == sorted(open_ids)
        assert self.backend.open_samplers == len(open_ids)
        assert self.batcher.is_idle == (not open_ids)

    @invariant()
    def the_slots_know_what_the_backend_holds(self) -> None:
        """After every step, also an interrupted or failed one, both lists of tokens agree."""
        held = [slot.tokens for slot in self.batcher._slots]
        assert held == self.backend._tokens

    def teardown(self) -> None:
        """Left alone, the work comes to its end in as many passes as it has tokens, and no more."""
        still_open = [request for request in self.requests.values() if not request.ends]
        self.passes(sum(2 * len(request.prompt) + 2 for request in still_open))
        assert self.batcher.is_idle
        assert self.batcher.plan() == []
        assert self.batcher.passing == frozenset()
        assert all(len(request.ends) == 1 for request in self.requests.values())


def test_batcher() -> None:
    """No order of events makes the batcher lose a request, spoil an answer or break a pass."""
    run_state_machine_as_test(
        BatcherMachine,
        settings=settings(max_examples=300, stateful_step_count=30),
    )
