"""One suite for every Backend: the echo and llama.cpp keep the same promises to the batcher.

What only llama.cpp can break (bits, control tokens, samplers) is `test_llama.py`'s.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter.engine.backend import Backend, EchoBackend, Row
from modelrouter.engine.batcher import Batcher
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Finished, Generate, Load, Text
from modelrouter.errors import EngineError
from modelrouter.generation import Generation, Piece
from modelrouter.memory.kv import StoredTypes
from modelrouter.types import Sampling

MakeBackend: TypeAlias = Callable[[], Backend]

SLOTS, CONTEXT_TOKENS, BATCH_ROWS = 3, 256, 32
GREEDY = Sampling(temperature=0)
PROMPTS = (
    "def read(self)",
    "def",
    "x",
    "What is the best way to read a file in Python? " * 2,
    "é🦙",
)


@pytest.fixture(params=["echo", "llama"])
def make_backend(request: pytest.FixtureRequest, tiny_gguf: Path) -> Iterator[MakeBackend]:
    """Return a maker of backends of one size and either kind; they are closed at the end."""
    made: list[Backend] = []

    def make() -> Backend:
        if request.param == "echo":
            backend: Backend = EchoBackend(
                slots=SLOTS, context_tokens=CONTEXT_TOKENS, batch_rows=BATCH_ROWS
            )
        else:
            load = Load(
                str(tiny_gguf),
                True,
                CONTEXT_TOKENS,
                SLOTS,
                BATCH_ROWS,
                StoredTypes("q8_0", "f16"),
                1,
            )
            backend = LlamaBackend(load, lambda _: None)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: MakeBackend) -> Backend:
    """A fresh backend."""
    return make_backend()


def plain(text: str) -> list[Piece]:
    """Return a prompt of ordinary text."""
    return [Piece(text, special=False)]


def rows(tokens: list[int], *, seq: int = 0, start: int = 0) -> list[Row]:
    """Return the rows that add `tokens` to a sequence and ask for the last one's logits."""
    last = len(tokens) - 1
    return [Row(seq, start + n, token, n == last) for n, token in enumerate(tokens)]


def continued(backend: Backend, held: int, tokens: list[int], *, length: int = 8) -> list[int]:
    """Feed `tokens` to sequence 0, which holds `held`, then what is likeliest after them."""
    sampler = backend.sampler(GREEDY)
    answer: list[int] = []
    while len(answer) < length and not (answer and backend.is_end(answer[-1])):
        feed = answer[-1:] or tokens
        assert backend.decode(rows(feed, start=held))
        held += len(feed)
        answer.append(sampler.sample(len(feed) - 1))
    sampler.close()
    return answer


def answers(backend: Backend, jobs: list[Generate]) -> dict[int, tuple[str, str, int]]:
    """Run the jobs together; return each one's text, finish and number of tokens."""
    ticks = count()
    batcher = Batcher(backend, clock=lambda: float(next(ticks)))
    events = [event for job in jobs for event in batcher.submit(job)]
    while not batcher.is_idle:
        events += batcher.commit(decoded=backend.decode(batcher.plan()))
    texts = {job.id: "" for job in jobs}
    for event in events:
        if isinstance(event, Text):
            texts[event.id] += event.text
    return {
        end.id: (texts[end.id], end.finish, end.usage.completion_tokens)
        for end in events
        if isinstance(end, Finished)
    }


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, seed=7)])
def test_an_answer_in_company_is_the_answer_alone(
    make_backend: MakeBackend, sampling: Sampling
) -> None:
    """More prompts than slots, chunks that differ, slots that were used: the same words."""
    wanted = [Generation(tuple(plain(text)), sampling, 20) for text in PROMPTS]
    jobs = [Generate(n, generation) for n, generation in enumerate(wanted)]
    alone = {n: answer for job in jobs for n, answer in answers(make_backend(), [job]).items()}
    together = answers(make_backend(), jobs)
    assert together == alone
    assert answers(make_backend(), jobs[::-1]) == alone
    assert len(alone) == len(PROMPTS)


def test_keep_forgets(make_backend: MakeBackend) -> None:
    """A sequence that went another way goes on as one that never did."""
    used, fresh = make_backend(), make_backend()
    begin, wrong, right = (
        used.tokenize(plain(text)) for text in ("def read", "(self)", ": import")
    )
    assert used.decode(rows(begin[:2]))
    continued(used, 2, begin[2:] + wrong)
    assert used.keep(0, 2) == 2
    assert continued(used, 2, begin[2:] + right) == continued(fresh, 0, begin + right)


def test_keep_of_nothing_makes_a_fresh_sequence(make_backend: MakeBackend) -> None:
    """Length 0 forgets all."""
    used, fresh = make_backend(), make_backend()
    one, other = used.tokenize(plain("one")), used.tokenize(plain("other"))
    continued(used, 0, one)
    assert used.keep(0, 0) == 0
    assert continued(used, 0, other) == continued(fresh, 0, other)


def test_keep_leaves_the_other_sequences(make_backend: MakeBackend) -> None:
    """Forgetting one sequence takes nothing from its neighbour."""
    used, fresh = make_backend(), make_backend()
    tokens = used.tokenize(plain("def read"))
    assert used.decode(rows(tokens[:-1]) + rows(tokens, seq=1))
    used.keep(1, 0)
    held = len(tokens) - 1
    assert continued(used, held, tokens[-1:]) == continued(fresh, 0, tokens)


@pytest.mark.parametrize(("length", "left"), [(3, 3), (4, 4), (5, 4), (10**6, 4), (-1, 0)])
def test_keep_says_what_is_left(backend: Backend, length: int, left: int) -> None:
    """More than there is cannot be kept, and less than nothing is nothing."""
    assert backend.keep(0, length) == 0
    assert backend.decode(rows([65, 66, 67, 68]))
    assert backend.keep(0, length) == left
    assert backend.decode(rows([69], start=left))


def test_an_interrupted_pass_is_undone_by_keep(make_backend: MakeBackend) -> None:
    """It says so, and after falling back the answer is what it would have been."""
    used, fresh = make_backend(), make_backend()
    tokens = used.tokenize(plain("def read(self)"))
    assert used.decode(rows(tokens[:2]))
    used.interrupt()
    assert not used.decode(rows(tokens[2:], start=2))
    assert used.keep(0, 2) == 2
    assert continued(used, 2, tokens[2:]) == continued(fresh, 0, tokens)


def test_one_interrupt_ends_one_pass(backend: Backend) -> None:
    """Two calls before a pass are one, and nothing of them is left for the pass after it."""
    backend.interrupt()
    backend.interrupt()
    assert not backend.decode(rows([65]))
    backend.keep(0, 0)
    assert backend.decode(rows([65]))
    assert backend.decode(rows([66], start=1))


def test_an_interrupted_pass_leaves_no_logits(backend: Backend) -> None:
    """Nobody draws from a pass that did not happen."""
    assert backend.decode(rows([65]))
    backend.interrupt()
    assert not backend.decode(rows([66], start=1))
    with pytest.raises(EngineError, match="no logits were asked for row 0"):
        backend.sampler(GREEDY).sample(0)


def test_close_twice(backend: Backend) -> None:
    """The second time there is nothing to do."""
    backend.close()
    backend.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_tokens_are_the_text_again(backend: Backend, text: str) -> None:
    """The bytes of a prompt's tokens are the prompt's, whatever script, also NUL and emoji."""
    tokens = backend.tokenize(plain(text))
    assert b"".join(map(backend.bytes_of, tokens)) == text.encode()
    assert not any(map(backend.is_end, tokens))


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ([], "a pass takes 1 to 32 rows, got 0"),
        (rows([65] * 33, start=4), "a pass takes 1 to 32 rows, got 33"),
        (rows([65], seq=3), "sequence 3 is outside the 3 slots"),
        (rows([65], seq=-1), "sequence -1 is outside the 3 slots"),
        (rows([65], seq=10**6), "sequence 1000000 is outside the 3 slots"),
        (rows([65], start=3), "position 3 does not continue sequence 0, which holds 4 tokens"),
        (rows([65], start=5), "position 5 does not continue sequence 0, which holds 4 tokens"),
        (rows([65], start=-1), "position -1 does not continue sequence 0, which holds 4 tokens"),
        (
            rows([65], start=4) + rows([66], start=4),
            "position 4 does not continue sequence 0, which holds 5 tokens",
        ),
        (
            rows([65], seq=1, start=1),
            "position 1 does not continue sequence 1, which holds 0 tokens",
        ),
        (
            [Row(0, 4, 65, wants_logits=True), Row(0, 5, 66, wants_logits=True)],
            "sequence 0 wants logits of 2 rows; a pass gives 1",
        ),
    ],
)
def test_rows_that_would_end_the_process_are_refused(
    backend: Backend, spoiled: list[Row], message: str
) -> None:
    """They are an error with the numbers, and the sequences are as they were."""
    assert backend.decode(rows([65, 66, 67, 68]))
    with pytest.raises(EngineError) as caught:
        backend.decode(spoiled)
    assert caught.value.message == message
    assert backend.keep(0, 10) == 4
    assert backend.keep(1, 10) == 0
    assert backend.decode(rows([69], start=4))


@pytest.mark.parametrize("token", [-1, 10**6])
def test_a_foreign_token_is_refused(backend: Backend, token: int) -> None:
    """A token that the vocabulary does not have is neither decoded nor spelled."""
    with pytest.raises(EngineError):
        backend.decode(rows([token]))
    with pytest.raises(EngineError, match=rf"^token {token} is outside the vocabulary of \d+$"):
        backend.bytes_of(token)
    assert backend.decode(rows([65]))


@pytest.mark.parametrize("seq", [-1, -5, 3, 10**6])
def test_keep_of_a_foreign_sequence_is_refused(backend: Backend, seq: int) -> None:
    """llama.cpp would end the process, or with -1 forget every sequence there is."""
    assert backend.decode(rows([65, 66]))
    for length in (0, 1):
        with pytest.raises(EngineError) as caught:
            backend.keep(seq, length)
        assert caught.value.message == f"sequence {seq} is outside the 3 slots"
    assert backend.keep(0, 2) == 2


def test_the_context_ends_where_it_says(backend: Backend) -> None:
    """Its last position can be used, the one after it is refused."""
    for start in range(0, backend.context_tokens, BATCH_ROWS):
        assert backend.decode(rows([65] * BATCH_ROWS, start=start))
    with pytest.raises(EngineError) as caught:
        backend.decode(rows([65], start=backend.context_tokens))
    assert caught.value.message == "position 256 is outside the context of 256"


def test_every_sequence_may_want_logits(backend: Backend) -> None:
    """A pass gives as many rows of logits as there are slots."""
    every = [row for seq in range(backend.slots) for row in rows([65, 66], seq=seq)]
    assert backend.decode(every)
    sampler = backend.sampler(GREEDY)
    drawn = [sampler.sample(number) for number, row in enumerate(every) if row.wants_logits]
    assert len(set(drawn)) == 1
    sampler.close()


@pytest.mark.parametrize("row", [0, 2, 3, -1, 10**6])
def test_logits_that_nobody_asked_for_are_refused(backend: Backend, row: int) -> None:
    """Of three rows only the middle one can be drawn from."""
    tokens = [Row(0, n, 65 + n, wants_logits=n == 1) for n in range(3)]
    assert backend.decode(tokens)
    sampler = backend.sampler(GREEDY)
    sampler.sample(1)
    with pytest.raises(EngineError) as caught:
        sampler.sample(row)
    assert caught.value.message == f"no logits were asked for row {row}"
    sampler.close()


def test_no_logits_before_the_first_pass(backend: Backend) -> None:
    """A model that has seen nothing has nothing to say."""
    with pytest.raises(EngineError):
        backend.sampler(GREEDY).sample(0)


def test_an_empty_text_has_no_tokens_of_its_own(backend: Backend) -> None:
    """The batcher can tell an empty prompt from one with something in it."""
    assert backend.tokenize(plain("")) == backend.tokenize([]) == []
