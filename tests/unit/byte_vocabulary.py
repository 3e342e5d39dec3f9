"""A vocabulary of the 256 bytes and one end, on which grammars are tried without a model."""

import random
from collections.abc import Sequence

from modelrouter.engine.constraint import Constraint, Vocabulary, compiled
from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat

END = 256
VOCABULARY = Vocabulary(
    [*(bytes([byte]) for byte in range(256)), b""], [END], lambda text: list(text.encode())
)


def constraint(form: AnswerFormat) -> Constraint:
    """Return the beginning of an answer of this form."""
    return Constraint(VOCABULARY, compiled(form))


def accepts(form: AnswerFormat, tokens: Sequence[int]) -> bool:
    """Tell whether each token is allowed after those before it."""
    answer = constraint(form)
    for token in tokens:
        try:
            if token not in answer.allowed():
                return False
        except RequestError:
            return False
        answer.accept(token)
    return True


def wander(form: AnswerFormat, seed: int, most: int) -> str | None:
    """Return an answer of tokens drawn at random among the allowed; None where it is not whole
    after `most`.
    """
    answer, draw = constraint(form), random.Random(seed)
    drawn = bytearray()
    for _ in range(most):
        allowed = answer.allowed().tolist()
        token = END if END in allowed else draw.choice(allowed)
        answer.accept(token)
        if token == END:
            return drawn.decode()
        drawn.append(token)
    return None
