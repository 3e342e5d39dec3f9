"""Drafts change how many passes an answer takes, and nothing else: one suite for every Backend.

The clock moves once between any two looks, so that a pass takes as long with many rows as with one:
all that can be drafted rides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest

from modelrouter import synthetic
from modelrouter.engine.backend import Backend, EchoBackend, Row
from modelrouter.engine.batcher import Batcher, Event
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Finished, Generate, Load, Text
from modelrouter.generation import Generation, Piece, Usage
from modelrouter.memory.kv import StoredTypes
from modelrouter.types import Sampling

MakeBackend: TypeAlias = Callable[[int], Backend]

SLOTS, CONTEXT_TOKENS, BATCH_ROWS, LOGIT_ROWS = 3, 512, 64, 16
GREEDY = Sampling(temperature=0)
SAMPLINGS = [
    GREEDY,
    Sampling(temperature=0.7, seed=3),
    Sampling(temperature=1.5, seed=4, repeat_penalty=1.2),
]
COPIES = "the line of a file is read; the line of a file is read; the line of a file"
PROMPTS = (COPIES, "def read(self): return self.read", "x", "é🦙é🦙é🦙", COPIES[5:])


@pytest.fixture(params=["echo", "llama"])
def make_backend(request: pytest.FixtureRequest, tiny_gguf: Path) -> Iterator[MakeBackend]:
    """Return a maker of backends that give logits of so many rows; closed at the end."""
    made: list[Backend] = []

    def make(logit_rows: int) -> Backend:
        if request.param == "echo":
            backend: Backend = EchoBackend(
                slots=SLOTS,
                context_tokens=CONTEXT_TOKENS,
                batch_rows=BATCH_ROWS,
                logit_rows=logit_rows,
            )
        else:
            backend = loaded(tiny_gguf, logit_rows)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


def loaded(path: Path, logit_rows: int) -> LlamaBackend:
    """Load a model."""
    load = Load(
        str(path),
        True,
        CONTEXT_TOKENS,
        SLOTS,
        BATCH_ROWS,
        StoredTypes("q8_0", "f16"),
        1,
        logit_rows=logit_rows,
    )
    return LlamaBackend(load, lambda _: None)


def jobs_of(
    sampling: Sampling, *, max_tokens: int | None = 60, stop: Sequence[str] = ()
) -> list[Generate]:
    """Return a request for each prompt."""
    return [
        Generate(n, Generation((Piece(text, special=False),), sampling, max_tokens, tuple(stop)))
        for n, text in enumerate(PROMPTS)
    ]


@dataclass
class Outcome:
    """What came of some jobs: each one's text and end, and the passes that it took."""

    texts: dict[int, str]
    ends: dict[int, Finished]
    passes: int

    @property
    def answers(self) -> dict[int, tuple[str, str, int, str | None]]:
        """All of an answer that a caller sees."""
        return {
            n: (self.texts[n], end.finish, end.usage.completion_tokens, end.stopped_by)
            for n, end in self.ends.items()
        }

    @property
    def accepted(self) -> int:
        """How many drafted tokens were right."""
        return sum(end.usage.accepted_tokens for end in self.ends.values())


def answered(
    backend: Backend,
    jobs: Sequence[Generate],
    *,
    interrupt_every: int | None = None,
    cancel_after: dict[int, int] | None = None,
) -> Outcome:
    """Run the jobs together. Every so many passes one is interrupted; a job is cancelled after so
    many passes.
    """
    ticks = count()
    batcher = Batcher(backend, clock=lambda: float(next(ticks)))
    events: list[Event] = [event for job in jobs for event in batcher.submit(job)]
    passes = 0
    while not batcher.is_idle:
        passes += 1
        for job_id in [n for n, after in (cancel_after or {}).items() if after == passes]:
            events += batcher.cancel(job_id)
        if interrupt_every and passes % interrupt_every == 0:
            backend.interrupt()
        if rows := batcher.plan():
            events += batcher.commit(decoded=backend.decode(rows))
    outcome = Outcome({job.id: "" for job in jobs}, {}, passes)
    for event in events:
        if isinstance(event, Text):
            outcome.texts[event.id] += event.text
        elif isinstance(event, Finished):
            outcome.ends[event.id] = event
    return outcome


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_an_answer_is_the_same_with_drafts(make_backend: MakeBackend, sampling: Sampling) -> None:
    """Token for token and byte for byte, alone, in company and greedy or drawn.

    The likeliest tokens repeat themselves: some are guessed right, and take fewer passes.
    """
    jobs = jobs_of(sampling)
    plain = answered(make_backend(1), jobs)
    drafted = answered(make_backend(LOGIT_ROWS), jobs)
    assert drafted.answers == plain.answers
    assert plain.accepted == 0
    if sampling is GREEDY:
        assert drafted.accepted > 0
        assert drafted.passes < plain.passes
    for job in jobs:
        alone = answered(make_backend(LOGIT_ROWS), [job])
        assert alone.answers[job.id] == plain.answers[job.id]


def test_drafts_save_passes(make_backend: MakeBackend) -> None:
    """An answer that repeats itself takes a pass less for each drafted token that was right."""
    (job, *_) = jobs_of(GREEDY)
    plain = answered(make_backend(1), [job])
    drafted = answered(make_backend(LOGIT_ROWS), [job])
    assert drafted.answers == plain.answers
    assert drafted.accepted > 0
    assert drafted.passes == plain.passes - drafted.accepted


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 7, 8, 9, 20, 33])
def test_a_limit_inside_an_accepted_run(make_backend: MakeBackend, max_tokens: int) -> None:
    """The answer ends where it would have, and the slot goes on from there."""
    jobs = jobs_of(GREEDY, max_tokens=max_tokens)
    backend = make_backend(LOGIT_ROWS)
    plain = answered(make_backend(1), jobs).answers
    assert answered(backend, jobs).answers == plain
    assert answered(backend, jobs[::-1]).answers == plain


def test_a_stop_string_inside_an_accepted_run(make_backend: MakeBackend) -> None:
    """Wherever in the answer it lies, nothing of it is shown, and nothing behind it."""
    whole = answered(make_backend(1), jobs_of(GREEDY)).texts[0]
    for at in range(2, min(40, len(whole) - 2), 3):
        jobs = jobs_of(GREEDY, stop=[whole[at : at + 2]])
        plain = answered(make_backend(1), jobs)
        assert plain.ends[0].finish == "stop"
        assert answered(make_backend(LOGIT_ROWS), jobs).answers == plain.answers


def test_the_end_of_the_context_inside_an_accepted_run(make_backend: MakeBackend) -> None:
    """The last position is used, and none beyond it."""
    text = COPIES * 3
    job = Generate(0, Generation((Piece(text, special=False),), GREEDY))
    plain = answered(make_backend(1), [job])
    assert answered(make_backend(LOGIT_ROWS), [job]).answers == plain.answers


@pytest.mark.parametrize("every", [2, 3, 5])
def test_an_interrupted_pass_with_drafts(make_backend: MakeBackend, every: int) -> None:
    """What rode it rides again, and no token comes twice."""
    jobs = jobs_of(GREEDY)
    plain = answered(make_backend(1), jobs).answers
    assert answered(make_backend(LOGIT_ROWS), jobs, interrupt_every=every).answers == plain


def test_a_cancel_between_passes_with_drafts(make_backend: MakeBackend) -> None:
    """Who leaves has a beginning of its answer; the others do not notice; its slot is sound."""
    jobs = jobs_of(GREEDY)
    plain = answered(make_backend(1), jobs).answers
    backend = make_backend(LOGIT_ROWS)
    seen = answered(backend, jobs, cancel_after={0: 5, 1: 4})
    assert plain[0][0].startswith(seen.texts[0])
    assert seen.ends[0].finish == "cancelled"
    assert {n: answer for n, answer in seen.answers.items() if n > 1} == {
        n: answer for n, answer in plain.items() if n > 1
    }
    assert answered(backend, jobs).answers == plain


def test_logits_of_more_rows_than_the_backend_gives_are_never_wanted(
    make_backend: MakeBackend,
) -> None:
    """Two rows are one drafted token at most: more would be refused by the backend."""
    jobs = jobs_of(GREEDY)
    plain = answered(make_backend(1), jobs).answers
    few = answered(make_backend(2), jobs)
    assert few.answers == plain
    assert few.accepted > 0


def test_the_counts_are_told(make_backend: MakeBackend) -> None:
    """An answer's usage says how many tokens were drafted, and how many of them were right."""
    outcome = answered(make_backend(LOGIT_ROWS), jobs_of(GREEDY)[:1])
    usage = outcome.ends[0].usage
    assert 0 < usage.accepted_tokens <= usage.drafted_tokens
    assert usage.accepted_tokens < usage.completion_tokens
    assert isinstance(usage, Usage)


def test_a_model_with_a_sliding_window_does_not_draft(tmp_path: Path) -> None:
    """It cannot take back what was wrong, and says so by the rows it gives logits of."""
    path = tmp_path / "window.gguf"
    geometry = synthetic.Geometry(6, 64, 128, 2, 1, 4096, sliding_window=64)
    synthetic.write(path, geometry, "Q8_0")
    backend = loaded(path, LOGIT_ROWS)
    assert backend.logit_rows == 1
    assert answered(backend, jobs_of(GREEDY)).accepted == 0
    backend.close()


def test_rows_of_a_draft_have_the_logits_of_single_rows(tiny_gguf: Path) -> None:
    """Sixteen rows of one sequence in a pass are drawn from as if each had come alone."""
    one, many = loaded(tiny_gguf, LOGIT_ROWS), loaded(tiny_gguf, LOGIT_ROWS)
    tokens = list(range(60, 60 + LOGIT_ROWS))
    wild = Sampling(temperature=5, top_k=0, top_p=1, min_p=0, seed=1)
    alone, together = one.sampler(wild), many.sampler(wild)
    drawn = []
    for place, token in enumerate(tokens):
        assert one.decode([Row(0, place, token, wants_logits=True)])
        drawn.append(alone.sample(0))
    assert many.decode([Row(0, n, token, wants_logits=True) for n, token in enumerate(tokens)])
    assert [together.sample(row) for row in range(LOGIT_ROWS)] == drawn
    for backend, sampler in ((one, alone), (many, together)):
        sampler.close()
        backend.close()
