"""The answer to a prompt does not depend on who else is answered, nor on what was said before.

Real attention kernels, on heads as wide as real models': prompts of hundreds of tokens, cut into
passes as company and reused prefixes would cut them, compared to the last bit. Short prompts are
`test_llama.py`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from last_pass import Logits, logits

from modelrouter import synthetic
from modelrouter.engine.backend import Row
from modelrouter.engine.batcher import Batcher
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Finished, Generate, Load, Text
from modelrouter.generation import Generation, Piece
from modelrouter.gguf import read_facts
from modelrouter.memory.kv import stored_types
from modelrouter.types import KvType, Sampling

MakeBackend: TypeAlias = Callable[[str, KvType], LlamaBackend]

HEADS = {
    "heads of 64": synthetic.Geometry(2, 256, 512, 4, 2, 4096),
    "heads of 128": synthetic.Geometry(2, 256, 512, 2, 1, 4096),
    "heads of 80": synthetic.Geometry(
        2, 320, 512, 4, 4, 4096
    ),  # no whole blocks of a quantized key
}
LENGTH = 600
TOKENS = [300 + (n * 7919) % 150 for n in range(LENGTH)]
OTHERS = [320 + n % 50 for n in range(LENGTH)]
CUTS = [[63], [64], [512], [336, 64], [100], [448, 1]]
"""Sizes of passes, the last one again and again: around 64 rows llama.cpp has changed kernels."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of random weights whose heads are as wide as real ones'."""
    folder = tmp_path_factory.mktemp("company")
    paths = {name: folder / f"{name}.gguf" for name in HEADS}
    for name, path in paths.items():
        synthetic.write(path, HEADS[name], "Q8_0")
    return paths


@pytest.fixture
def make(files: dict[str, Path], starter_gguf: Path) -> Iterator[MakeBackend]:
    """Return a loader of a model with three slots; what it loads is closed at the end."""
    made: list[LlamaBackend] = []

    def load(model: str, kv_type: KvType) -> LlamaBackend:
        path = files.get(model, starter_gguf)
        stored = stored_types(kv_type, read_facts(path).key_length)
        made.append(LlamaBackend(Load(str(path), True, 768, 3, 512, stored, 2), lambda _: None))
        return made[-1]

    yield load
    for backend in made:
        backend.close()


def feed(
    backend: LlamaBackend, tokens: Sequence[int], cut: Sequence[int], start: int = 0
) -> Logits:
    """Add the tokens to sequence 0, which holds `start`, in passes of these sizes; return the last
    one's logits.
    """
    sizes = iter(cut)
    size, fed = 0, 0
    while fed < len(tokens):
        size = next(sizes, size)
        part = tokens[fed : fed + size]
        last = len(part) - 1
        rows = [Row(0, start + fed + n, token, n == last) for n, token in enumerate(part)]
        assert backend.decode(rows)
        fed += len(part)
    return logits(backend, last)


@pytest.mark.parametrize(
    ("model", "kv_type"),
    [*((model, "f16") for model in HEADS), ("heads of 64", "q8_0"), ("heads of 128", "q4_0")],
)
def test_the_cut_of_a_long_prompt_does_not_change_a_bit(
    make: MakeBackend, model: str, kv_type: KvType
) -> None:
    """Passes of few rows, of many and of both give the same logits."""
    backend = make(model, kv_type)
    whole = feed(backend, TOKENS, [32])
    for cut in CUTS:
        backend.keep(0, 0)
        assert np.array_equal(feed(backend, TOKENS, cut), whole), cut


def test_real_weights_do_not_change_a_bit_either(make: MakeBackend) -> None:
    """The starter model, 320 tokens: in small passes, in one, and token by token at the end."""
    backend = make("starter", "f16")
    whole = feed(backend, TOKENS[:320], [512])
    for cut in ([32], [64], [300, 1]):
        backend.keep(0, 0)
        assert np.array_equal(feed(backend, TOKENS[:320], cut), whole), cut


@pytest.mark.parametrize("model", HEADS)
def test_a_next_token_in_company_is_the_one_alone(make: MakeBackend, model: str) -> None:
    """Far into a context a row by itself, one beside others' and the first of a few are equal."""
    backend = make(model, "f16")
    feed(backend, TOKENS[:-1], [512])
    row = Row(0, LENGTH - 1, TOKENS[-1], True)
    companies = [
        [],
        [Row(1, 0, 400, True)],
        [Row(1, n, token, n == 99) for n, token in enumerate(OTHERS[:100])],
        [Row(2, n, token, n == 6) for n, token in enumerate(OTHERS[:7])],
        [Row(0, LENGTH + n, token, False) for n, token in enumerate(OTHERS[:8])],
    ]
    seen = []
    for company in companies:
        assert backend.decode([row, *company])
        seen.append(logits(backend, 0))
        backend.keep(0, LENGTH - 1)
        backend.keep(1, 0)
        backend.keep(2, 0)
    assert all(np.array_equal(other, seen[0]) for other in seen[1:])


@pytest.mark.parametrize("model", HEADS)
def test_a_reused_prefix_does_not_change_a_bit(make: MakeBackend, model: str) -> None:
    """What an answer has left in a slot, token by token, serves as well as a prompt's own pass."""
    fresh = feed(make(model, "f16"), TOKENS, [512])
    used = make(model, "f16")
    feed(used, TOKENS[:300], [512])
    feed(used, TOKENS[300:330], [1], start=300)
    feed(used, OTHERS[:90], [80, 1], start=330)
    assert used.keep(0, 330) == 330
    assert np.array_equal(feed(used, TOKENS[330:], [512], start=330), fresh)


# ---- through the batcher -------------------------------------------------------------------------


def answers(backend: LlamaBackend, jobs: Sequence[Generate]) -> dict[int, str]:
    """Answer the jobs together; return their texts."""
    ticks = count()
    batcher = Batcher(backend, clock=lambda: float(next(ticks)))
    events = [event for job in jobs for event in batcher.submit(job)]
    while not batcher.is_idle:
        events += batcher.commit(decoded=backend.decode(batcher.plan()))
    assert sum(isinstance(event, Finished) for event in events) == len(jobs)
    texts = dict.fromkeys((job.id for job in jobs), "")
    for event in events:
        if isinstance(event, Text):
            texts[event.id] += event.text
    return texts


def job(number: int, text: str, max_tokens: int) -> Generate:
    """Return a request that is answered at random, by its number's chance."""
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=number)
    return Generate(number, Generation((Piece(text, special=False),), sampling, max_tokens))


@pytest.mark.parametrize("model", HEADS)
def test_a_seeded_answer_to_a_long_prompt_is_the_same_in_company(
    make: MakeBackend, model: str
) -> None:
    """Twenty long prompts of many lengths, together in three slots, one after another, and again
    where the slots are full of what they can reuse: twenty texts.
    """
    text = "the line of a file is read and then we do what it says "
    jobs = [job(n, f"{n % 3}: " + text * (4 + n), 12) for n in range(20)]
    alone: dict[int, str] = {}
    for each in jobs:
        alone |= answers(make(model, "f16"), [each])
    backend = make(model, "f16")
    assert answers(backend, jobs) == alone
    assert answers(backend, jobs[::-1]) == alone
    assert len(set(alone.values())) == len(jobs)
