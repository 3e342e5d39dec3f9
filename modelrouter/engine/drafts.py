"""Drafts: what a sequence is likely to say next, because it or its prompt has said it before.

Pure; it counts tokens and seconds, and knows no model, no text and no clock.
"""

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

LONGEST_MATCH: Final = 3
"""How many last tokens are looked up at most: the longer a match, the surer what follows it."""

PACKED: Final = "i"
PACKED_BYTES: Final = array(PACKED).itemsize

FIRST_TRUST: Final = 0.5
TRUST_WEIGHT: Final = 1 / 8
"""How much the latest token counts in what is believed of the next."""

LENGTHS: Final = (1, 3, 7, 15)
"""How many tokens are drafted at a time: with the one before them, as many rows as kernels like."""
MOST_DRAFTED: Final = LENGTHS[-1]

SECONDS_WEIGHT: Final = 1 / 4
STALE_PASSES: Final = 500
"""A measured time so old is forgotten: the box may be another by now, and it is tried again."""


class Guess(NamedTuple):
    """Tokens that may come next, and how likely each is to be right, given the one before is."""

    tokens: list[int]
    match_length: int
    trust: float

    def expected(self, length: int) -> float:
        """Return how many of the first `length` tokens can be expected to be right."""
        most = min(length, len(self.tokens))
        return sum(self.trust**n for n in range(1, most + 1))


class PromptLookup:
    """One sequence's tokens, looked up by the last few of them: the latest place is taken."""

    def __init__(self, tokens: Sequence[int]) -> None:
        """Begin with the prompt."""
        self._packed = bytearray()
        """The tokens, four bytes each: a bytes search is quick, and an index would be large."""
        self._trust = dict.fromkeys(range(1, LONGEST_MATCH + 1), FIRST_TRUST)
        self.add(tokens)

    def add(self, tokens: Sequence[int]) -> None:
        """Take the next tokens in."""
        self._packed += array(PACKED, tokens).tobytes()

    def guess(self, most: int) -> Guess | None:
        """Return `most` tokens that came after the last ones before, None for none."""
        held = len(self._packed) // PACKED_BYTES
        if most < 1:
            return None
        for length in range(min(LONGEST_MATCH, held - 1), 0, -1):
            at = self._latest(length)
            if at is not None:
                return Guess(self._copy(at, most), length, self._trust[length])
        return None

    def _latest(self, length: int) -> int | None:
        """Return where the token stands in bytes that came after the last `length` before."""
        wanted = self._packed[-length * PACKED_BYTES :]
        end = len(self._packed) - PACKED_BYTES
        while (at := self._packed.rfind(wanted, 0, end)) % PACKED_BYTES:
            if at < 0:
                return None
            end = at + len(wanted) - 1
        return at + len(wanted)

    def _copy(self, at: int, length: int) -> list[int]:
        """Return the tokens from byte `at` on; past the end they begin there again."""
        tokens = array(PACKED)
        tokens.frombytes(self._packed[at : at + length * PACKED_BYTES])
        return [tokens[n % len(tokens)] for n in range(length)]

    def learn(self, guess: Guess, drawn: Sequence[int]) -> None:
        """Note which tokens came in place of those guessed, as far as these were right; whether
        they rode does not matter.
        """
        length = guess.match_length
        for guessed, token in zip(guess.tokens, drawn, strict=False):
            was_right = guessed == token
            self._trust[length] += (was_right - self._trust[length]) * TRUST_WEIGHT
            if not was_right:
                return


class PassTimes:
    """How long a pass takes by its rows: running estimates."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._passes = 0
        self._known: dict[int, tuple[float, int]] = {}

    def learn(self, rows: int, seconds: float) -> None:
        """Note a pass that took so long."""
        self._passes += 1
        known = self._known.get(rows)
        old = seconds if known is None else known[0]
        self._known[rows] = (old + (seconds - old) * SECONDS_WEIGHT, self._passes)
        oldest = self._passes - STALE_PASSES
        self._known = {rows: known for rows, known in self._known.items() if known[1] > oldest}

    @property
    def most_rows(self) -> int:
        """The largest pass that is known, 0 where none is."""
        return max(self._known, default=0)

    def seconds(self, rows: int) -> float:
        """Return the seconds of a pass: between those of a smaller and a larger one, and like the
        nearest where nothing beyond is known. Some pass must be known.
        """
        below = max((known for known in self._known if known <= rows), default=min(self._known))
        above = min((known for known in self._known if known >= rows), default=max(self._known))
        low, high = self._known[below][0], self._known[above][0]
        share = (rows - below) / (above - below) if above > below else 0.0
        return low + (high - low) * share


def best_length(guesses: Sequence[Guess | None], most: int, times: PassTimes) -> int:
    """Return how many drafted tokens should ride with each sequence's next one: where the fewest
    seconds a token are expected.

    All sequences get as many rows: llama.cpp runs those of unequal ones in turns, and reads the
    weights anew for each. Lengths are tried step by step, each pass at most twice as large as any
    that is known, so that a bad try costs little.
    """
    sequences = len(guesses)

    def seconds_a_token(length: int) -> float:
        tokens = sequences + sum(guess.expected(length) for guess in guesses if guess)
        return times.seconds(sequences * (1 + length)) / tokens

    if not times.most_rows or not any(guesses):
        return 0
    tried = [
        length
        for length in LENGTHS
        if length <= most and sequences * (1 + length) <= 2 * times.most_rows
    ]
    return min([0, *tried], key=seconds_a_token)
