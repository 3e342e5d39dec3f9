"""Answers of real models held to a form: whatever they would rather say, it fits.

What the forms mean is `unit/test_constraint.py`'s and `unit/test_gbnf.py`'s.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from modelrouter.engine.batcher import Batcher
from modelrouter.engine.constraint import compiled
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Failed, Finished, Generate, Load, Text
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.generation import Generation, Piece
from modelrouter.memory.kv import StoredTypes
from modelrouter.tokens import TokenBias
from modelrouter.types import Sampling

Answer: TypeAlias = tuple[str, Finished | Failed]
Ask: TypeAlias = Callable[..., Answer]

CAT = AnswerFormat.of_schema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 30},
            "colours": {"type": "array", "items": {"enum": ["red", "white"]}, "maxItems": 3},
        },
        "required": ["name", "age", "colours"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def starter(starter_gguf: Path) -> Iterator[LlamaBackend]:
    """The starter model with one slot."""
    load = Load(str(starter_gguf), True, 512, 1, 64, StoredTypes("q8_0", "f16"), 2)
    backend = LlamaBackend(load, lambda _: None)
    yield backend
    backend.close()


@pytest.fixture
def ask(starter: LlamaBackend) -> Ask:
    """Ask the starter model for an answer of a form."""

    def answer(form: AnswerFormat | None, most: int = 150, **sampling: object) -> Answer:
        batcher = Batcher(starter, clock=lambda: 0.0)
        prompt = "<|im_start|>user\nDescribe a cat in JSON.<|im_end|>\n<|im_start|>assistant\n"
        grammar = None if form is None else compiled(form)
        drawing = Sampling(**{"temperature": 1.0, "seed": 1} | sampling)  # type: ignore[arg-type]
        wanted = Generation((Piece(prompt, special=True),), drawing, most, grammar=grammar)
        events = batcher.submit(Generate(0, wanted))
        while not batcher.is_idle:
            events += batcher.commit(decoded=starter.decode(batcher.plan()))
        text = "".join(event.text for event in events if isinstance(event, Text))
        end = events[-1]
        assert not isinstance(end, Text)
        return text, end

    return answer


@pytest.mark.parametrize("seed", range(8))
def test_every_seed_keeps_to_the_schema(ask: Ask, seed: int) -> None:
    """Hot as it is drawn, an answer that came to its end is JSON of the schema."""
    text, end = ask(CAT, seed=seed, temperature=1.5)
    assert isinstance(end, Finished)
    assert end.finish == "stop"
    cat = json.loads(text)
    assert list(cat) == ["name", "age", "colours"]
    assert len(cat["name"]) <= 20
    assert 0 <= cat["age"] <= 30
    assert set(cat["colours"]) <= {"red", "white"}


def test_a_seed_keeps_its_answer(ask: Ask) -> None:
    """The same question gives the same answer, so that a cache may keep it."""
    assert ask(CAT, seed=7) == ask(CAT, seed=7)


def test_an_answer_that_is_cut_says_so(ask: Ask) -> None:
    """Too few tokens leave half an object, and the end is `length`."""
    text, end = ask(CAT, most=5)
    assert isinstance(end, Finished)
    assert end.finish == "length"
    assert text.lstrip().startswith("{")


@pytest.mark.parametrize("seed", range(4))
def test_a_grammar(ask: Ask, seed: int) -> None:
    """llama.cpp's notation holds an answer just as well."""
    form = AnswerFormat("gbnf", r'root ::= ("yes" | "no") ", " [0-9]{2,4} "!"')
    text, _ = ask(form, seed=seed)
    assert re.fullmatch(r"(yes|no), [0-9]{2,4}!", text)


def test_cuts_and_penalties_see_the_allowed_tokens_alone(ask: Ask) -> None:
    """Even top_k = 1 and a bias against everything that may come leave an answer of the form."""
    biases = tuple(TokenBias(token, -100) for token in range(1000))
    text, _ = ask(ANY_OBJECT, temperature=0, top_k=1, repeat_penalty=1.5, logit_bias=biases)
    assert text.lstrip().startswith("{")


def test_no_end_before_the_form_is_whole(ask: Ask) -> None:
    """A model that would stop at once has to go on."""
    form = AnswerFormat("gbnf", 'root ::= "a"{40}')
    assert ask(form)[0] == "a" * 40


def test_a_form_that_allows_nothing_ends_with_a_word(ask: Ask) -> None:
    """The answer fails as the caller's mistake, and the model goes on answering others."""
    _, end = ask(AnswerFormat("gbnf", r"root ::= [^\x00-\U0010FFFF]"))
    assert end == Failed(
        0,
        "bad_request",
        "the answer cannot be held to its form: no token of the model fits it",
        None,
    )
    assert isinstance(ask(None, most=3)[1], Finished)
