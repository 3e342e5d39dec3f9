"""The lowest seam: what the batcher needs of a thing that runs tensors. Two implementations keep it
honest.

Nothing here knows requests, queues or sockets. `LlamaBackend` is the real one (`llama.py`);
`EchoBackend` answers every prompt with the prompt, on the same rules, without weights.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from modelrouter.errors import EngineError, RequestError
from modelrouter.generation import Piece
from modelrouter.tokens import Chance, TokenLogprobs
from modelrouter.types import Sampling


class Row(NamedTuple):
    """One token to be decoded: of which sequence, at which position, with or without logits."""

    seq: int
    position: int
    token: int
    wants_logits: bool


class Sampler(Protocol):
    """Draws the tokens of one sequence; its random state and its penalties' memory are its own."""

    def sample(self, row: int) -> int:
        """Return a token drawn from the last decode's logits of row number `row`; remember it.

        RequestError where a grammar allows none, or has become too costly.
        """

    def close(self) -> None:
        """Give its memory back."""


class Backend(Protocol):
    """A loaded model with room for `slots` sequences of `context_tokens` each.

    One thread calls it, but for `interrupt`, which any thread may. What would end the process
    inside llama.cpp (too many rows, a bad sequence or position, logits of too many rows) is refused
    with EngineError before it gets there.
    """

    slots: int
    context_tokens: int
    batch_rows: int
    logit_rows: int
    """Rows of one sequence that may want logits in one pass: 1, or more where it can draft."""

    def tokenize(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the prompt's tokens, beginning-of-text first where the model wants one."""

    def bytes_of(self, token: int) -> bytes:
        """Return a token's bytes, maybe part of a UTF-8 character; b"" for a control token."""

    def token_of(self, spelling: str) -> int | None:
        """Return the one token, a control token too, that is spelled so; None where none is."""

    def is_end(self, token: int) -> bool:
        """Tell whether the model ends its answer with this token."""

    def sampler(self, sampling: Sampling, grammar: str | None = None) -> Sampler:
        """Return a fresh sampler; RequestError for a bias of a token that the vocabulary lacks.

        With a grammar (the text that `constraint.compiled` gives) it draws only what that allows.
        """

    def logprobs(self, row: int, token: int, most: int) -> TokenLogprobs:
        """Return the chances in the last decode's row of `token` and of the `most` likeliest.

        They are the model's own, whatever a sampler makes of them.
        """

    def decode(self, rows: Sequence[Row]) -> bool:
        """Run one pass. False: it was interrupted; the caller must `keep` what was there before.

        Each sequence's rows must continue it without a gap; at most `batch_rows` rows, of which at
        most `logit_rows` of each sequence want logits.
        """

    def keep(self, seq: int, length: int) -> int:
        """Forget a sequence's tokens from position `length` on; return how many are left.

        That may be fewer than asked: a sliding window or a recurrent state cannot always go back.
        """

    def interrupt(self) -> None:
        """Make the pass that runs now, or else the next one, return False soon."""

    def close(self) -> None:
        """Free the model. Twice is fine."""


def check_rows(backend: Backend, rows: Sequence[Row], lengths: Sequence[int]) -> None:
    """Raise EngineError for rows at which llama.cpp would end the process or lose them.

    `lengths` says how many tokens each sequence holds.
    """
    if not 0 < len(rows) <= backend.batch_rows:
        raise EngineError(f"a pass takes 1 to {backend.batch_rows} rows, got {len(rows)}")
    ends = list(lengths)
    for row in rows:
        check_seq(backend, row.seq)
        if row.position != ends[row.seq]:
            raise EngineError(
                f"position {row.position} does not continue sequence {row.seq}, "
                f"which holds {ends[row.seq]} tokens"
            )
        if row.position >= backend.context_tokens:
            raise EngineError(
                f"position {row.position} is outside the context of {backend.context_tokens}"
            )
        ends[row.seq] += 1
    wanted = Counter(row.seq for row in rows if row.wants_logits)
    for seq, count in wanted.items():
        if count > backend.logit_rows:
            raise EngineError(
                f"sequence {seq} wants logits of {count} rows; a pass gives {backend.logit_rows}"
            )


def check_seq(backend: Backend, seq: int) -> None:
    """Raise EngineError for a sequence that the backend has no slot for."""
    if not 0 <= seq < backend.slots:
        raise EngineError(f"sequence {seq} is outside the {backend.slots} slots")


def check_biases(sampling: Sampling, vocabulary: int) -> None:
    """Raise RequestError for a bias of a token that is none of the vocabulary's."""
    for bias in sampling.logit_bias:
        if bias.token >= vocabulary:
            raise RequestError(
                f"logit_bias names token {bias.token:,}; the model's vocabulary has {vocabulary:,}"
            )


def check_token(token: int, vocabulary: int) -> None:
    """Raise EngineError for a token that is none of the vocabulary's."""
    if not 0 <= token < vocabulary:
        raise EngineError(f"token {token} is outside the vocabulary of {vocabulary:,}")


class EchoBackend:
    """Answers with the prompt, byte by byte: a model of 258 tokens whose answers are known.

    Like a real model it knows nothing but a sequence's tokens: `ASK` ends the prompt in them.
    """

    END, ASK = 256, 257
    VOCABULARY = 258

    def __init__(
        self,
        *,
        slots: int = 2,
        context_tokens: int = 256,
        batch_rows: int = 32,
        logit_rows: int = 1,
    ) -> None:
        """Make room for `slots` sequences."""
        self.slots = slots
        self.context_tokens = context_tokens
        self.batch_rows = batch_rows
        self.logit_rows = logit_rows
        self._tokens: list[list[int]] = [[] for _ in range(slots)]
        self._next: dict[int, int] = {}
        self._interrupted = False

    def tokenize(self, pieces: Sequence[Piece]) -> list[int]:
        """Return the text's UTF-8 bytes and `ASK`; nothing in the text is special."""
        text = "".join(piece.text for piece in pieces).encode()
        return [*text, self.ASK] if text else []

    def bytes_of(self, token: int) -> bytes:
        """Return the byte itself; `END` and `ASK` have none."""
        check_token(token, self.VOCABULARY)
        return b"" if token in {self.END, self.ASK} else bytes([token])

    def token_of(self, spelling: str) -> int | None:
        """Return the byte that is spelled so."""
        data = spelling.encode()
        return data[0] if len(data) == 1 else None

    def is_end(self, token: int) -> bool:
        """Tell whether this is the one end token."""
        return token == self.END

    def sampler(self, sampling: Sampling, grammar: str | None = None) -> Sampler:
        """Return a sampler; there is only ever one token to draw, whatever a grammar wants."""
        del grammar
        check_biases(sampling, self.VOCABULARY)
        return _EchoSampler(self._next)

    def logprobs(self, row: int, token: int, most: int) -> TokenLogprobs:
        """Return certainty: the one token that may come has all the chance there is."""
        certain = Chance(token, tuple(self.bytes_of(token)), 0.0)
        if self._next.get(row) != token:
            raise EngineError(f"token {token} has no chance in row {row}")
        return TokenLogprobs(certain, (certain,)[:most])

    def decode(self, rows: Sequence[Row]) -> bool:
        """Take the rows in and make each wanted one's next token known."""
        check_rows(self, rows, [len(tokens) for tokens in self._tokens])
        for row in rows:
            check_token(row.token, self.VOCABULARY)
        self._next.clear()
        if self._interrupted:
            self._interrupted = False
            return False
        for index, row in enumerate(rows):
            self._tokens[row.seq].append(row.token)
            if row.wants_logits:
                self._next[index] = self._likeliest_after(self._tokens[row.seq])
        return True

    def _likeliest_after(self, tokens: list[int]) -> int:
        prompt_length = tokens.index(self.ASK) if self.ASK in tokens else 0
        answered = len(tokens) - prompt_length - 1
        return tokens[answered] if answered < prompt_length else self.END

    def keep(self, seq: int, length: int) -> int:
        """Forget the rest; nothing hinders."""
        check_seq(self, seq)
        self._tokens[seq] = self._tokens[seq][: max(0, length)]
        return len(self._tokens[seq])

    def interrupt(self) -> None:
        """Make the next pass return False: a pass here takes no time."""
        self._interrupted = True

    def close(self) -> None:
        """Nothing to free."""


class _EchoSampler:
    def __init__(self, next_tokens: dict[int, int]) -> None:
        self._next_tokens = next_tokens

    def sample(self, row: int) -> int:
        if row not in self._next_tokens:
            raise EngineError(f"no logits were asked for row {row}")
        return self._next_tokens[row]

    def close(self) -> None:
        pass
