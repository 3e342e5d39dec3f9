"""The script of a soak: what is asked, in which order, and who leaves when. Equal seeds, equal
scripts.

It sends nothing. What the scheduler makes of the script is the matter of the proof.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soak_box import Model

SAMPLE = (
    "the line of a file is read and then we do what it says for each value in the list because an "
    "answer may not be the best one when it was asked for by an old user with more words than there"
)
"""Words that are a token or two each in the synthetic models' vocabulary."""

QUESTIONS = ("What is on each line of the file?", "Say it again: " + " ".join([SAMPLE] * 6))
"""A short one, and one of hundreds of tokens: who else is asking decides how it is cut into passes.
Few, so that each is asked again and again.
"""
SEED = 1
WAVE = 15
FAVOUR = 0.5
"""Without favourites all models are always in use, and none is ever evicted."""

SIDE_JOB = "### Task:\nGenerate a concise title for the chat: "
FULL = frozenset({"queue_full"})
"""What any request may meet beside a whole answer: the line of its model is full."""

DIED = FULL | {"worker_died"}
LATE = DIED | {"deadline_exceeded"}

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of the script.

    `leaves_after_texts` or `leaves_after_seconds` says when its client closes the connection: 0
    texts is at once. `may_fail_with` are the codes of the errors that it may end with, besides a
    whole answer; `must_fail_with` is the one that it has to. `prefills` and `decodes` mark those
    that do so for long enough to be killed in it.
    """

    number: int
    kind: str
    body: Body
    may_fail_with: frozenset[str] = DIED
    must_fail_with: str | None = None
    leaves_after_texts: int | None = None
    leaves_after_seconds: float | None = None
    prefills: bool = False
    decodes: bool = False

    @property
    def model(self) -> str | None:
        """The model that it names; None where the policy chooses."""
        name: str | None = self.body.get("model")
        return name

    @property
    def is_streamed(self) -> bool:
        """True where the answer comes in pieces."""
        return bool(self.body.get("stream"))

    @property
    def seeded(self) -> tuple[Any, ...] | None:
        """What decides the text of the answer, where something does."""
        if "seed" not in self.body:
            return None
        return (self.model, self.body["messages"][0]["content"], self.body["seed"])


@dataclass
class Author:
    """Writes asks for these models, with one source of chance."""

    models: Sequence[Model]
    chance: random.Random
    favourite: Model | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def ask(self, number: int) -> Ask:
        """Return the next ask of the script. Now and then another model comes into favour."""
        if number % WAVE == 0:
            self.favourite = self.chance.choice(self.models)
        weights = [weight for weight, _ in KINDS.values()]
        kind = self.chance.choices(list(KINDS), weights)[0]
        self.fields = {}
        body = KINDS[kind][1](self)
        return Ask(number, kind, body, **self.fields)

    def words(self, least: int, most: int) -> str:
        """Return some words that no other prompt begins with."""
        count = self.chance.randint(least, most)
        return " ".join(self.chance.choices(SAMPLE.split(), k=count))

    def model(self) -> Model:
        """Return one of the models, mostly the favourite."""
        if self.favourite is not None and self.chance.random() < FAVOUR:
            return self.favourite
        return self.chance.choice(self.models)

    def body(self, content: str, max_tokens: int, **more: Any) -> Body:
        """Return a chat. Hot, so that the random weights say something else each time."""
        messages = [{"role": "user", "content": content}]
        return {"messages": messages, "max_tokens": max_tokens, "temperature": 1.5, **more}

    def chat(self) -> Body:
        """A question to one model, answered as a whole."""
        return self.body(self.words(2, 20), self.chance.randint(1, 24), model=self.model().name)

    def stream(self) -> Body:
        """The same in pieces."""
        usage = {"include_usage": self.chance.random() < 0.5}
        return {**self.chat(), "stream": True, "stream_options": usage}

    def routed(self) -> Body:
        """One for the policy's last rule."""
        return self.body(self.words(2, 20), self.chance.randint(1, 24))

    def side_job(self) -> Body:
        """One that a chat program asks on its own account: of the lowest class."""
        return self.body(SIDE_JOB + self.words(2, 20), 8)

    def next_if_full(self) -> Body:
        """One that goes on to the next model where the first is full."""
        return {**self.routed(), "tags": ["next"], "stream": self.chance.random() < 0.5}

    def waits(self) -> Body:
        """One whose rule has two models and waits for the first."""
        return {**self.routed(), "tags": ["wait"]}

    def same_again(self) -> Body:
        """One of two questions with a seed: the text must be the same each time."""
        cache = self.chance.random() < 0.5
        content = self.chance.choice(QUESTIONS)
        return self.body(content, 12, model=self.model().name, seed=SEED, cache=cache)

    def long_prompt(self) -> Body:
        """One whose prompt takes a while to read: half of the context."""
        self.fields = {"prefills": True}
        return {**self.half_a_context(), "stream": True}

    def long_answer(self) -> Body:
        """One whose answer takes a while."""
        self.fields = {"decodes": True}
        most = self.chance.randint(100, 300)
        return {**self.chat(), "stream": True, "max_tokens": most, "temperature": 5, "top_k": 0}

    def hurried(self) -> Body:
        """One with a time limit of its own that it may well miss."""
        self.fields = {"may_fail_with": LATE}
        return {**self.chat(), "timeout": round(self.chance.uniform(0.1, 2.0), 3)}

    def leaves_at_once(self) -> Body:
        """One whose client has gone before it can be answered."""
        self.fields = {"leaves_after_texts": 0}
        return {**self.chat(), "stream": self.chance.random() < 0.5}

    def leaves_in_line(self) -> Body:
        """One whose client waits for a while and then goes, wherever the work is by then."""
        self.fields = {"leaves_after_seconds": self.chance.uniform(0.05, 2.0)}
        return self.half_a_context()

    def half_a_context(self) -> Body:
        """Return a prompt that fills about half of a model's context."""
        model = self.model()
        words = int(model.context_tokens * 0.4)  # a little more than a token each
        return self.body(self.words(words, words), 16, model=model.name)

    def leaves_in_stream(self) -> Body:
        """One whose client goes in the middle of the answer."""
        body = self.long_answer()
        self.fields = {"leaves_after_texts": self.chance.randint(1, 10)}
        return body

    def unknown_model(self) -> Body:
        """One that names a model that there is not."""
        self.fields = {"must_fail_with": "unknown_model"}
        return self.body("Hi", 4, model="nobody")

    def too_long(self) -> Body:
        """One that does not fit its model's context."""
        model = self.model()
        self.fields = {"must_fail_with": "prompt_too_long"}
        words = model.context_tokens * 2
        return self.body(self.words(words, words), 4, model=model.name)


KINDS: Mapping[str, tuple[int, Callable[[Author], Body]]] = {
    "chat": (20, Author.chat),
    "stream": (18, Author.stream),
    "routed": (8, Author.routed),
    "side job": (8, Author.side_job),
    "next if full": (9, Author.next_if_full),
    "waits": (4, Author.waits),
    "same again": (10, Author.same_again),
    "long prompt": (5, Author.long_prompt),
    "long answer": (5, Author.long_answer),
    "hurried": (3, Author.hurried),
    "leaves at once": (2, Author.leaves_at_once),
    "leaves in line": (3, Author.leaves_in_line),
    "leaves in stream": (3, Author.leaves_in_stream),
    "unknown model": (1, Author.unknown_model),
    "too long": (1, Author.too_long),
}
"""How many of a hundred, and who writes them."""


def script(models: Sequence[Model], length: int, seed: int) -> list[Ask]:
    """Return `length` asks."""
    author = Author(models, random.Random(seed))
    return [author.ask(number) for number in range(length)]
