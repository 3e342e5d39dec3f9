"""One request on its way through the model, the slot it lies in, and the rows that come next of it.

Pure; which of them ride a pass is the batcher's to say.
"""

from dataclasses import dataclass, field

from modelrouter.engine.backend import Row, Sampler
from modelrouter.engine.drafts import MOST_DRAFTED, Guess, PromptLookup
from modelrouter.engine.protocol import Generate
from modelrouter.engine.text import TextStream
from modelrouter.engine.token_log import TokenLog


@dataclass(slots=True, eq=False)
class Sequence:
    """One request on its way through the model."""

    job: Generate
    prompt: list[int]
    sampler: Sampler
    text: TextStream
    submitted_at: float
    pending: list[int] = field(default_factory=list)
    """Tokens that the backend has not seen: the prompt's rest, then always the one drawn last."""
    prefilled_at: float | None = None
    cached_tokens: int = 0
    answer_tokens: int = 0
    log: TokenLog = field(default_factory=TokenLog)
    spelled: dict[int, bytes] = field(default_factory=dict)
    """The control tokens whose spelling belongs to the text."""
    lookup: PromptLookup | None = None
    """None where the backend gives logits of one row only: nothing is drafted then."""
    guess: Guess | None = None
    """What may come next, where the planned pass can tell whether it does."""
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def is_in_a_hurry(self) -> bool:
        """True where a whole pass of its prompt may be too long: its time is short, or others'."""
        wanted = self.job.generation
        is_timed = wanted.prompt_seconds is not None or wanted.is_warm_up
        return is_timed and len(self.pending) > 1

    def is_late(self, now: float) -> bool:
        """Tell whether its time for the prompt, or for the answer, is up."""
        if self.prefilled_at is None:
            most, since = self.job.generation.prompt_seconds, self.submitted_at
        else:
            most, since = self.job.generation.answer_seconds, self.prefilled_at
        return most is not None and now - since >= most

    def guess_next(self) -> None:
        """Guess what comes after the token drawn last, as far as the answer has room for it."""
        most = self.job.generation.max_tokens
        room = MOST_DRAFTED if most is None else most - self.answer_tokens - 1
        if self.lookup is not None:
            self.guess = self.lookup.guess(max(0, min(MOST_DRAFTED, room)))

    def learn(self, drawn: list[int]) -> None:
        """Note the tokens that a pass has given, and whether they were guessed."""
        if self.lookup is None:
            return
        if self.guess is not None:
            self.lookup.learn(self.guess, drawn)
        self.lookup.add(drawn)


@dataclass(slots=True, eq=False)
class Slot:
    """Room for one sequence in the backend, and the tokens whose KV lies there."""

    seq: int
    tokens: list[int] = field(default_factory=list)
    sequence: Sequence | None = None
    left_at_pass: int = 0


def next_rows(slot: Slot, sequence: Sequence, most: int) -> list[Row]:
    """Return rows for the next `most` pending tokens; the very last of all wants logits."""
    start, last = len(slot.tokens), len(sequence.pending) - 1
    return [
        Row(slot.seq, start + n, token, wants_logits=n == last)
        for n, token in enumerate(sequence.pending[:most])
    ]


def draft_rows(slot: Slot, sequence: Sequence, length: int) -> list[Row]:
    """Return rows for the first `length` guessed tokens, which all want logits.

    Where fewer were guessed, the last token stands in: all sequences need equally many rows.
    """
    guessed = [] if sequence.guess is None else sequence.guess.tokens[:length]
    tokens = guessed + sequence.pending * (length - len(guessed))
    start = len(slot.tokens) + 1
    return [Row(slot.seq, start + n, token, wants_logits=True) for n, token in enumerate(tokens)]


def shared(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(left), len(right)))
