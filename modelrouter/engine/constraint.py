"""The one door to llguidance: which tokens may come next, where an answer is held to a form.

llama.cpp's own grammars were not taken: a grammar as small as `s ::= "a" s "b" | "a" s "c" | "x"`
doubles their work with every token and cannot be stopped, so that one request could hold up a
worker for ever. llguidance parses in polynomial time, under limits of its own, and says so where
one is reached.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import llguidance
import numpy as np
import numpy.typing as npt

from modelrouter.engine.gbnf import to_lark
from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat

WHITESPACE = r"[ ]|\n[ \t]{0,20}"
"""Between the parts of JSON: without a bound small models write blanks to the end."""


def _limits() -> llguidance.LLParserLimits:
    """Bound what one grammar may cost, below the defaults: with those the worst that were found
    took 0.5 s to begin and 1.8 s for a token, with these 0.2 s and 0.1 s.
    """
    return llguidance.LLParserLimits(
        max_items_in_row=500,
        max_lexer_states=50_000,
        initial_lexer_fuel=300_000,
        step_lexer_fuel=100_000,
    )


@functools.lru_cache(maxsize=64)
def compiled(form: AnswerFormat) -> str:
    """Return the form as the text of a grammar; RequestError says what is wrong with it."""
    try:
        grammar = _grammar(form)
        problem = llguidance.LLMatcher.validate_grammar(grammar, limits=_limits())
    except (ValueError, OverflowError) as error:
        problem = str(error)
    if problem:
        what = "JSON schema" if form.kind == "json_schema" else "grammar"
        raise RequestError(f"the {what} cannot be used: {' '.join(problem.split())[:300]}")
    return grammar


def _grammar(form: AnswerFormat) -> str:
    if form.kind == "gbnf":
        return str(llguidance.LLMatcher.grammar_from_lark(to_lark(form.text)))
    return str(
        llguidance.LLMatcher.grammar_from_json_schema(
            form.text, overrides={"whitespace_pattern": WHITESPACE}
        )
    )


class Vocabulary:
    """A model's tokens as a grammar sees them. Made once: it takes a tenth of a second or more."""

    def __init__(
        self,
        tokens: Iterable[bytes],
        ends: Sequence[int],
        tokenize: Callable[[str], list[int]],
    ) -> None:
        """Take all tokens' bytes in, b"" for control tokens; an answer ends with one of `ends`.

        `tokenize` says in which tokens the model would write what a grammar leaves no choice about.
        """
        listed = list(tokens)
        controls = [number for number, data in enumerate(listed) if not data]
        for number in controls:
            listed[number] = f"<|{number}|>".encode()
        # Without slices a mask takes three times as long, and the vocabulary half the memory.
        words: Any = _Words(listed, controls, ends[0], tokenize)
        self.tokenizer = llguidance.LLTokenizer(words, eos_token=list(ends), slices=[])


class _Words:
    """What llguidance reads a vocabulary from."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(
        self,
        tokens: list[bytes],
        controls: list[int],
        end: int,
        tokenize: Callable[[str], list[int]],
    ) -> None:
        self.tokens = tokens
        self._tokenize = tokenize
        self.special_token_ids = controls
        self.eos_token_id = end

    def __call__(self, text: str) -> list[int]:
        return self._tokenize(text)


class Constraint:
    """One answer's grammar, as far as the answer has come."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        """Begin an answer in the text of a grammar that `compiled` gave."""
        self._matcher = llguidance.LLMatcher(
            vocabulary.tokenizer, grammar, log_level=0, limits=_limits()
        )

    def allowed(self) -> npt.NDArray[np.intp]:
        """Return the tokens that may come next, in order; RequestError where it costs too much."""
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        tokens = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
        if self._matcher.is_error() or not len(tokens):
            raise self._failure()
        return tokens

    def accept(self, token: int) -> None:
        """Go on with a token that is one of the allowed."""
        if not self._matcher.consume_token(token):
            raise self._failure()

    def _failure(self) -> RequestError:
        said = self._matcher.get_error().partition("\n")[0]
        if not said or said.startswith("NoExtension"):
            said = "no token of the model fits it"
        return RequestError(f"the answer cannot be held to its form: {said[:300]}")
