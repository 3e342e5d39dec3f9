"""Messages cross the socket whole, and nothing else passes for one.

Every kind there is must be in `MESSAGES`: a new one without an example fails here.
"""

import json
import re
import struct

import pytest

from modelrouter.engine.protocol import (
    HEADER,
    KINDS,
    MAX_FRAME_BYTES,
    AnyMessage,
    Cancel,
    Detokenize,
    Detokenized,
    Failed,
    Finished,
    Generate,
    Load,
    Loading,
    Pin,
    Pinned,
    Pinning,
    Planned,
    ProtocolError,
    Ready,
    Span,
    Text,
    Tokenize,
    Tokenized,
    body_length,
    frame,
    parse,
)
from modelrouter.generation import Generation, Piece, Timings, Usage
from modelrouter.memory.kv import StoredTypes
from modelrouter.tokens import Chance, TokenBias, TokenLogprobs
from modelrouter.types import Sampling

MESSAGES: list[AnyMessage] = [
    Load("/models/große Datei.gguf", True, 4096, 2, 512, StoredTypes("q8_0", "q8_0"), 4),
    Load(
        "a",
        False,
        256,
        1,
        32,
        StoredTypes("f16", "bf16"),
        1,
        (Span("a", 32, 5), Span("é", 0, 2**40)),
        "idle",
    ),
    Generate(
        0,
        Generation(
            (Piece("<|im_start|>", special=True), Piece("é\n\0", special=False)), Sampling()
        ),
    ),
    Generate(7, Generation((), Sampling(temperature=0, top_k=1, seed=42), 12, ("\n\n", "</s>"))),
    Generate(8, Generation((), Sampling(logit_bias=(TokenBias(5, -100.0),)), 1, (), 20)),
    Generate(9, Generation((), Sampling(), 0, (), None, (7, 151_659), 4, 0.5, None)),
    Tokenize(2, "é<|im_end|>", True),
    Detokenize(3, ((5, 0, 151_659), (), (7,))),
    Tokenized(2, (5, 7)),
    Detokenized(3, ("é", "", "a")),
    Cancel(3),
    Pin(2**40),
    Loading(0.25),
    Ready(4096, 2),
    Ready(4096, 2, ("nice: Operation not permitted",)),
    Pinning(2**20),
    Pinned(2**40, None),
    Pinned(0, "RLIMIT_MEMLOCK allows 0 MiB"),
    Planned(96_576_768, 0, 23_592_960, 15_216_672, 196_608, 41_971_712),
    Text(1, 'naïve 🦙 "quoted" \\ \u2028'),
    Text(1, "é", (TokenLogprobs(Chance(7, (0xC3,), -0.5), (Chance(9, (65,), -0.25),)),)),
    Finished(1, "length", Usage(10, 20, 3), Timings(0.5, 1.25)),
    Failed(None, "load_failed", "it is no GGUF file", None),
    Failed(4, "prompt_too_long", "9,120 tokens", "shorten it"),
]

SOUND = Generate(1, Generation((Piece("hello", special=False),), Sampling(), 5, ("\n",)))
GENERATE = json.loads(frame(SOUND)[HEADER.size :])[1]


def body(kind: str, content: object) -> bytes:
    """Return a frame's body as a careless or hostile sender would write it."""
    return json.dumps([kind, content]).encode()


def generate(changes: dict[str, object]) -> bytes:
    """Return the sound message's body with some of its generation replaced."""
    return body("Generate", GENERATE | {"generation": GENERATE["generation"] | changes})


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message: AnyMessage) -> None:
    """What is framed is parsed to an equal message, and the header says where it ends."""
    framed = frame(message)
    assert body_length(framed[: HEADER.size]) == len(framed) - HEADER.size
    assert parse(framed[HEADER.size :]) == message


def test_every_kind_has_an_example() -> None:
    """A message that nobody tried to send is a message that nobody knows to arrive."""
    assert {type(message).__name__ for message in MESSAGES} == set(KINDS)


def test_the_form_on_the_wire() -> None:
    """Four bytes of length, then compact JSON in UTF-8: the form that the module describes."""
    assert frame(Text(1, "é")) == (b'\0\0\0\x2b["Text",{"id":1,"text":"\xc3\xa9","logprobs":[]}]')


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not JSON",
        b"null",
        b"[]",
        b'["Cancel"]',
        b'["Cancel",{"id":1},2]',
        b'{"Cancel":1,"id":2}',
        b"\xff\xfe",
        b"[" * 100_000,
        body("Explode", {"id": 1}),
        b'[["Cancel"],{"id":1}]',
        body("Cancel", {}),
        body("Cancel", {"id": 1, "why": "bored"}),
        body("Cancel", [1]),
        body("Cancel", {"id": "1"}),
        body("Cancel", {"id": 1.0}),
        body("Cancel", {"id": True}),
        body("Cancel", {"id": None}),
        body("Loading", {"fraction": "half"}),
        body("Finished", {"id": 1, "finish": "bored", "usage": {}, "timings": {}}),
        generate({"stop": "\n"}),
        generate({"stop": None}),
        generate({"stop": [1]}),
        generate({"pieces": {"text": "hello", "special": False}}),
        generate({"pieces": ["hello"]}),
        generate({"max_tokens": "5"}),
        generate({"sampling": GENERATE["generation"]["sampling"] | {"temperature": 99}}),
    ],
    ids=lambda garbage: garbage[:60].decode(errors="replace"),
)
def test_garbage_is_no_message(garbage: bytes) -> None:
    """Whatever is not exactly one message is a ProtocolError that quotes its beginning."""
    with pytest.raises(ProtocolError, match=re.escape(f"not a message: {garbage[:80]!r} (")):
        parse(garbage)


def test_the_sound_message_of_the_garbage_cases() -> None:
    """The message that the cases above spoil is itself a sound one."""
    assert parse(body("Generate", GENERATE)) == SOUND


def test_a_whole_number_may_stand_for_seconds() -> None:
    """JSON writes 1.0 as 1 on the other side's whim; a float field takes both."""
    message = parse(body("Loading", {"fraction": 1}))
    assert message == Loading(1)


def test_an_absurd_length_is_refused_before_it_is_read() -> None:
    """Four bytes of garbage must not make a side wait for gigabytes."""
    assert body_length(struct.pack(">I", MAX_FRAME_BYTES)) == MAX_FRAME_BYTES
    with pytest.raises(ProtocolError) as caught:
        body_length(struct.pack(">I", MAX_FRAME_BYTES + 1))
    assert caught.value.message == "a frame of 268,435,457 bytes was announced, 268,435,456 may be"


def test_a_message_over_the_limit_is_refused_by_its_sender() -> None:
    """A prompt that the other side would call garbage is not sent to it."""
    with pytest.raises(ProtocolError) as caught:
        frame(Text(1, "x" * MAX_FRAME_BYTES))
    assert caught.value.message == "a message of 268,435,497 bytes is over 268,435,456"
