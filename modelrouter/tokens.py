"""Words about single tokens: the biases that a request sets, the chances that a model gave.

Plain values; nothing here knows a vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelrouter.errors import RequestError

MOST_BIAS: Final = 100
MOST_BIASED_TOKENS: Final = 1024
MOST_TOP_LOGPROBS: Final = 20
"""OpenAI's bounds, but for the number of biased tokens, for which it names none."""


@dataclass(frozen=True, slots=True)
class TokenBias:
    """What is added to a token's logit before anything else: from -100 (never) to 100 (only it)."""

    token: int
    bias: float

    def __post_init__(self) -> None:
        """Refuse what no vocabulary has and what would not be a number."""
        if not 0 <= self.token < 2**31:
            raise RequestError(f"logit_bias: {self.token} is no token's number")
        if not -MOST_BIAS <= self.bias <= MOST_BIAS:
            raise RequestError(
                f"logit_bias of token {self.token} must be from -{MOST_BIAS} to {MOST_BIAS}, "
                f"got {self.bias:g}"
            )


def biases_of(by_token: Mapping[str, float]) -> tuple[TokenBias, ...]:
    """Return the biases of an OpenAI request, `{"15043": -100}`, in the order of the tokens."""
    if len(by_token) > MOST_BIASED_TOKENS:
        raise RequestError(
            f"logit_bias names {len(by_token):,} tokens; it may name {MOST_BIASED_TOKENS:,}"
        )
    wrong = next((token for token in by_token if not token.isascii() or not token.isdigit()), None)
    if wrong is not None:
        raise RequestError(
            f'logit_bias: "{wrong}" is no token\'s number', hint="tokens are named by their numbers"
        )
    biases = {int(token[:11]): bias for token, bias in by_token.items()}
    return tuple(TokenBias(token, bias) for token, bias in sorted(biases.items()))


@dataclass(frozen=True, slots=True)
class Chance:
    """A token, its bytes, and the natural logarithm of the chance that the model gave it.

    A control token has no bytes. A token may be a part of a UTF-8 character.
    """

    token: int
    bytes: tuple[int, ...]
    logprob: float

    @property
    def text(self) -> str:
        """The bytes as text, U+FFFD for a part of a character."""
        return bytes(self.bytes).decode(errors="replace")


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The token that was drawn, and those that the model found likeliest in its place.

    They are the model's own chances: before biases, penalties, temperature and any cut.
    """

    drawn: Chance
    top: tuple[Chance, ...]
