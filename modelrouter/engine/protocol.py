"""The messages between a model's worker or probe and the parent, and their form on the way.

Both sides import this and nothing of each other. No I/O here: bytes in, messages out.

On the wire a message is a frame: four bytes of length (big-endian), then compact JSON `["Kind",
{field: value, ...}]`. Closing the socket means "stop" in both directions.
"""

import dataclasses
import functools
import json
import struct
import types
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from modelrouter.errors import EngineError, RequestError
from modelrouter.generation import Finish, Generation, Timings, Usage
from modelrouter.memory.kv import StoredTypes
from modelrouter.tokens import TokenLogprobs

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 256 * 1024 * 1024
"""No honest message comes near it: a longer length is garbage on the socket."""


Niceness: TypeAlias = Literal["normal", "nice", "idle"]
"""A worker's claim to the CPU: like everybody's, at nice 19, or by Linux's SCHED_IDLE."""


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file that holds weights.

    `layer` is the place in a pass at which all of it is read, the output after the last layer; None
    for what a pass touches in part: embeddings, experts.
    """

    path: str
    offset: int
    n_bytes: int
    layer: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Parent: load this model, or say what that would take. The first message, once.

    `whole` reads the weights into memory of the worker's own, where llama.cpp may rearrange them
    for speed and the kernel cannot take them back; otherwise they stay mapped from the file,
    unchanged, and `weights` says where they lie, in the order in which they are pinned. Of the
    rest, `window_bytes` are in memory at a time.
    """

    path: str
    whole: bool
    context_tokens: int
    slots: int
    batch_rows: int
    stored: StoredTypes
    threads: int
    weights: tuple[Span, ...] = ()
    niceness: Niceness = "normal"
    window_bytes: int = 0
    logit_rows: int = 1
    """Rows of one sequence that may want logits in one pass: drafts ride where it is more."""

    @property
    def most_outputs(self) -> int:
        """Rows of a pass that may want logits."""
        return min(self.slots * self.logit_rows, self.batch_rows)


@dataclasses.dataclass(frozen=True, slots=True)
class Generate:
    """Parent: answer this."""

    id: int
    generation: Generation


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel:
    """Parent: nobody waits for this answer any more."""

    id: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tokenize:
    """Parent: tell the text's tokens. Control tokens are recognised where `special` is true."""

    id: int
    text: str
    special: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Detokenize:
    """Parent: tell the text of each list of tokens."""

    id: int
    lists: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pin:
    """Parent: keep the first `n_bytes` of the mapped weights in memory, and no others.

    At any time, also while the model loads. Each is answered by one Pinned, in order.
    """

    n_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Loading:
    """Worker: this fraction of the weights, 0 to 1, is there."""

    fraction: float


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """Worker: the model is loaded; what it really got, and in words what it was refused."""

    context_tokens: int
    slots: int
    refusals: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Pinning:
    """Worker: so many bytes of the weights are pinned by now."""

    n_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Pinned:
    """Worker: a Pin's end, with what is pinned; `reason` says why it is less than was asked."""

    n_bytes: int
    reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """Probe: the bytes that llama.cpp would allocate, each kind of buffer.

    Weights of a model that is to be mapped are all `plain_bytes`. `worker_bytes` is what the
    probe itself holds, which has read the header and planned: libraries and vocabulary.
    """

    plain_bytes: int
    repacked_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int
    worker_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """Worker: the next piece of an answer; where asked for, with the chances of its tokens."""

    id: int
    text: str
    logprobs: tuple[TokenLogprobs, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """Worker: an answer's end, also of a cancelled one; `stopped_by` is the stop string seen."""

    id: int
    finish: Finish
    usage: Usage
    timings: Timings
    stopped_by: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Tokenized:
    """Worker: the tokens of a text."""

    id: int
    tokens: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Detokenized:
    """Worker: the texts of lists of tokens; what is no UTF-8 is U+FFFD."""

    id: int
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """Worker: an answer (or, with `id` None, the load) ended in an error of the given `code`."""

    id: int | None
    code: str
    message: str
    hint: str | None


Question: TypeAlias = Tokenize | Detokenize
Answered: TypeAlias = Tokenized | Detokenized
FromParent: TypeAlias = Load | Generate | Cancel | Question | Pin
FromWorker: TypeAlias = Loading | Ready | Pinning | Pinned | Text | Finished | Answered | Failed
FromProbe: TypeAlias = Planned | Failed
AnyMessage: TypeAlias = FromParent | FromWorker | FromProbe

KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(AnyMessage)}


class ProtocolError(EngineError):
    """Bytes on a worker's socket that are no message: the two sides misunderstand each other."""

    code = "protocol_error"


def frame(message: AnyMessage) -> bytes:
    """Return the message as it crosses the socket, length first."""
    content = [type(message).__name__, dataclasses.asdict(message)]
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(body):,} bytes is over {MAX_FRAME_BYTES:,}")
    return HEADER.pack(len(body)) + body


def body_length(header: bytes) -> int:
    """Return how many bytes of body follow a frame's four header bytes."""
    (length,) = HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"a frame of {length:,} bytes was announced, {MAX_FRAME_BYTES:,} may be"
        )
    return int(length)


def messages(framed: bytes) -> Iterator[AnyMessage]:
    """Yield the messages of frames that stand one after another; the last may be cut short."""
    while len(framed) >= HEADER.size:
        end = HEADER.size + body_length(framed[: HEADER.size])
        if len(framed) < end:
            return
        yield parse(framed[HEADER.size : end])
        framed = framed[end:]


def parse(body: bytes) -> AnyMessage:
    """Return the message of a frame's body; ProtocolError for anything that is not exactly one."""
    try:
        name, fields = json.loads(body)
        message: AnyMessage = _build(KINDS[name], fields)
    except (ValueError, TypeError, KeyError, RecursionError, RequestError) as error:
        raise ProtocolError(f"not a message: {body[:80]!r} ({error!r})") from error
    return message


def _build(kind: Any, value: Any) -> Any:
    """Return `value` (from JSON) as the annotated type `kind`; TypeError where it does not fit."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        if not isinstance(value, dict) or value.keys() != hints.keys():
            raise TypeError(f"{kind.__name__} has the fields {sorted(hints)}")
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(arguments[0], item) for item in value)
    if origin is types.UnionType:
        return None if value is None else _build(arguments[0], value)
    if origin is Literal:
        fits = value in arguments
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise TypeError(f"{value!r} is no {kind}")
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
