"""The words of a request's path: plain frozen values that every part may name.

Nothing here does I/O, reads a clock or knows a library. A value that makes no sense cannot be made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypedDict

from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat
from modelrouter.tokens import MOST_TOP_LOGPROBS, TokenBias
from modelrouter.tools import NO_TOOLS, Toolbox, ToolCall

Task = Literal["chat", "completion", "background"]
"""What kind of work a request is: a person's chat, an editor's completion, a program's side job."""

Speaker = Literal["system", "user", "assistant", "tool"]
CacheUse = Literal["hit", "miss", "bypass"]
WhenFull = Literal["next", "wait"]
WithoutFim = Literal["continue", "refuse"]
"""What becomes of a hole at a model that was not trained to fill in: its prefix is gone on with, or
the model is passed over.
"""
KvType = Literal["f16", "q8_0", "q4_0"]
Drafts = Literal["prompt-lookup", "off"]
UNSURE: Final = "unsure"
"""The field of a prediction that a policy does not trust."""

BYTES_PER_TOKEN: Final = 4
"""What a token is worth in UTF-8, roughly, in prose and code alike."""

MOST: Final[Mapping[str, int]] = {"messages": 10_000, "stop": 256, "tags": 256}
"""How many of each a request may have: more than anybody means, and quickly gone through."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. A tool's turn says which call it answers."""

    speaker: Speaker
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def is_empty(self) -> bool:
        """True where nothing is said; that a tool had nothing to say is an answer too."""
        return self.speaker != "tool" and not self.content.strip() and not self.tool_calls


@dataclass(frozen=True, slots=True)
class Extra:
    """Text from elsewhere in the caller's project: a file, or what stands in a part of it."""

    filename: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A text with a gap, which is to be filled: what stands before it, after it, and elsewhere."""

    prefix: str
    suffix: str
    extras: tuple[Extra, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the caller wrote, names of files too."""
        named = (text for extra in self.extras for text in (extra.filename or "", extra.text))
        return (*named, self.prefix, self.suffix)


class SamplingOverrides(TypedDict, total=False):
    """What of `Sampling` a request may set; the model's own defaults stand for the rest."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    seed: int | None
    logit_bias: tuple[TokenBias, ...]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; the names and ranges are llama.cpp's and OpenAI's.

    `temperature` 0 takes the likeliest token. `seed` None draws a fresh one for each request.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    logit_bias: tuple[TokenBias, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no sampler can mean."""
        for name, (low, high) in SAMPLING_RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RequestError(f"{name} must be from {low:,} to {high:,}, got {value:,}")

    @property
    def is_repeatable(self) -> bool:
        """True where the same prompt always gives the same text."""
        return self.temperature == 0 or self.seed is not None


SAMPLING_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 5),
    "top_k": (0, 1_000_000),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repeat_penalty": (0.1, 10),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "seed": (0, 2**32 - 2),  # llama.cpp reads 2**32 - 1 as "draw one"
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller wants, whatever surface it came through: an answer to the messages, or what
    belongs in the hole; a request has one of the two.

    `model` names a model or a role and beats the policy; None lets the policy choose.
    `max_tokens` None stops at the model's own end or the end of its context; 0 only has the prompt
    read, so that a later one that begins with it is quick. `indent`: the answer ends before a line
    that is indented by fewer blanks.

    `seconds` bounds the whole answer, waiting included, and is an error where it is over.
    `prompt_seconds` and `answer_seconds` bound the reading of the prompt and the answer itself;
    what is there by then is the answer, maybe none of it. None gives all the time it takes. `tags`
    and `headers` (by lower-case name) are for the policy's rules alone. `logprobs` asks for the
    chances of the answer's tokens, and of so many of the likeliest in the place of each.
    `answer_format` holds the answer to a JSON schema or a grammar. `toolbox` has the tools that it
    may or must call.
    """

    messages: tuple[Message, ...] = ()
    task: Task = "chat"
    model: str | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    sampling: SamplingOverrides = field(default_factory=SamplingOverrides)
    use_cache: bool = True
    seconds: float | None = None
    prompt_seconds: float | None = None
    answer_seconds: float | None = None
    indent: int | None = None
    hole: Hole | None = None
    tags: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    logprobs: int | None = None
    answer_format: AnswerFormat | None = None
    toolbox: Toolbox = NO_TOOLS
    prompt_tokens: int = field(init=False, repr=False, compare=False)
    """About how many tokens the texts have: no model is chosen yet that could count them."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the caller wrote for the model to read."""
        spoken = tuple(message.content for message in self.messages)
        return spoken if self.hole is None else self.hole.texts

    @property
    def needs_tools(self) -> bool:
        """True where a template that knows no tools would leave something out."""
        has_called = any(m.tool_calls or m.speaker == "tool" for m in self.messages)
        return bool(self.toolbox.shown) or has_called

    @property
    def turns(self) -> int:
        """How often the user has spoken."""
        return sum(message.speaker == "user" for message in self.messages)

    @property
    def is_warm_up(self) -> bool:
        """True where nothing is to be answered: the prompt is read for one that is to come."""
        return self.max_tokens == 0

    def __post_init__(self) -> None:
        """Refuse at the door what no model can answer."""
        for text, what in self._texts():
            refuse_unspeakable(text, what)
        self._refuse_no_prompt()
        self._refuse_odd_bounds()
        if self.logprobs is not None and not 0 <= self.logprobs <= MOST_TOP_LOGPROBS:
            raise RequestError(
                f"top_logprobs must be from 0 to {MOST_TOP_LOGPROBS}, got {self.logprobs}"
            )
        if any(not text for text in self.stop):
            raise RequestError("a stop string is empty; it would stop every answer at once")
        for name, most in MOST.items():
            if (count := len(getattr(self, name))) > most:
                raise RequestError(f"{count:,} {name} are too many: {most:,} may be")
        Sampling(**self.sampling)
        texts = (text for text, what in self._texts() if what in {"the prompt", "a tool"})
        n_bytes = sum(len(text.encode()) for text in texts)
        object.__setattr__(self, "prompt_tokens", n_bytes // BYTES_PER_TOKEN + 1)

    def _refuse_no_prompt(self) -> None:
        if self.hole is not None:
            if self.messages or self.task != "completion":
                raise RequestError("a hole is a completion's whole prompt: no chat can have one")
            is_empty = not (self.hole.prefix or self.hole.suffix or self.is_warm_up)
        else:
            is_empty = not self.messages or self.messages[-1].is_empty
        if is_empty:
            raise RequestError("the prompt is empty", hint="say what you want to know")

    def _refuse_odd_bounds(self) -> None:
        for name in ("max_tokens", "indent"):
            if (count := getattr(self, name)) is not None and count < 0:
                raise RequestError(f"{name} must be at least 0, got {count}")
        limits = {
            "the time limit": self.seconds,
            "the prompt's time limit": self.prompt_seconds,
            "the answer's time limit": self.answer_seconds,
        }
        for what, seconds in limits.items():
            if seconds is not None and not seconds > 0:
                raise RequestError(f"{what} must be more than 0 seconds, got {seconds}")

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Yield every text of the request, and what it is."""
        for text in self.texts:
            yield text, "the prompt"
        for message in self.messages:
            for call in message.tool_calls:
                yield call.name + call.arguments + call.id, "the prompt"
            yield message.tool_call_id or "", "the prompt"
        for tool in self.toolbox.shown:
            yield tool.description + tool.parameters, "a tool"
        for text in self.stop:
            yield text, "a stop string"
        if self.answer_format is not None:
            yield self.answer_format.text, "the answer's format"
        yield self.model or "", "the model's name"


def refuse_unspeakable(text: str, what: str) -> None:
    """Raise RequestError for text that is not text: NUL characters and lone surrogates."""
    if (at := text.find("\0")) >= 0:
        raise RequestError(f"{what} holds a NUL character at position {at:,}: is it a binary file?")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{what} is not valid Unicode: U+{ord(text[error.start]):04X} stands alone "
            f"at position {error.start:,}"
        ) from error


@dataclass(frozen=True, slots=True)
class Feature:
    """A piece of the prompt that the classifier weighed; positive weight speaks for its field."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier says a request is about. `scores` sum to 1; `field` has the highest.

    `task` is the request's, or "background" where a chat turns out to be a program's side job.
    """

    field: str
    confidence: float
    scores: Mapping[str, float]
    features: tuple[Feature, ...] = ()
    task: Task = "chat"

    @property
    def runner_up(self) -> str | None:
        """The field with the second highest score."""
        others = (field for field in self.scores if field != self.field)
        return max(others, key=self.scores.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a rule chose, and the role through which (None where named itself)."""

    model: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that a rule names but that cannot be used, and why."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Models in the order to be tried, and the rule that said so.

    `stays` says why a conversation stays with its model, where the rule alone would move it.
    """

    policy: str
    rule: str
    candidates: tuple[Candidate, ...]
    when_full: WhenFull
    skipped: tuple[Skipped, ...] = ()
    stays: str | None = None
    without_fim: WithoutFim = "continue"
