"""What a model's worker is told of one answer, and what comes back: plain frozen values.

Nothing here knows a request, a policy or a process.
"""

from dataclasses import dataclass
from typing import Literal

from modelrouter.tokens import TokenLogprobs
from modelrouter.types import Sampling

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a rendered prompt. Control tokens are only recognised where `special` is true,
    so that a user's text can never pass for one.
    """

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class Generation:
    """All that shapes the text of one answer, once the model is chosen.

    It is what the model's worker is told, and with the model's identity it is the cache's key.
    `max_tokens` None: to the model's own end or its context's. `logprobs` asks for the chances of
    the answer's tokens, and of so many of the likeliest. `end_ids` are tokens that end it as the
    model's own end does. `grammar` is what `constraint.compiled` gives: the answer is held to it.
    `spelled` are control tokens that its text is to spell out. The rest is as in `Request`.
    """

    pieces: tuple[Piece, ...]
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    end_ids: tuple[int, ...] = ()
    indent: int | None = None
    prompt_seconds: float | None = None
    answer_seconds: float | None = None
    grammar: str | None = None
    spelled: tuple[str, ...] = ()

    @property
    def is_warm_up(self) -> bool:
        """True where nothing is to be answered."""
        return self.max_tokens == 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer; `cached_tokens` of the prompt were in the slot's KV already.

    Of the answer `drafted_tokens` were guessed before they were drawn, and `accepted_tokens` of
    them were right: so many passes were saved.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds inside the worker: until the prompt was prefilled, and from then to the end."""

    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer's text, and where asked for, the chances of its tokens."""

    text: str
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The answer's end: the last event of every request that did not fail.

    `stopped_by` is the request's stop string that ended it; None where the model or a limit did.
    """

    finish: Finish
    usage: Usage
    timings: Timings
    stopped_by: str | None = None
