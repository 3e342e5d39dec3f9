"""The words of a request's path: what makes no sense cannot be made, and the message says why.

Pure values; no part of the house is needed.
"""

import dataclasses
from typing import Any

import pytest

from modelrouter.errors import RequestError
from modelrouter.types import SAMPLING_RANGES, Extra, Hole, Message, Request, Sampling

NAN = float("nan")


def request_of(content: str = "Hi", **settings: Any) -> Request:
    """Return a request of one user message."""
    return Request(messages=(Message("user", content),), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"content": ""}, "the prompt is empty"),
        ({"content": " \n\t"}, "the prompt is empty"),
        ({"max_tokens": -1}, "max_tokens must be at least 0, got -1"),
        ({"indent": -4}, "indent must be at least 0, got -4"),
        ({"seconds": 0}, "the time limit must be more than 0 seconds, got 0"),
        ({"seconds": -1.5}, "the time limit must be more than 0 seconds, got -1.5"),
        ({"prompt_seconds": 0}, "the prompt's time limit must be more than 0 seconds, got 0"),
        ({"answer_seconds": -1}, "the answer's time limit must be more than 0 seconds, got -1"),
        ({"seconds": NAN}, "the time limit must be more than 0 seconds, got nan"),
        ({"stop": ("\n", "")}, "a stop string is empty; it would stop every answer at once"),
        (
            {"stop": ("a\udc80",)},
            "a stop string is not valid Unicode: U+DC80 stands alone at position 1",
        ),
        ({"stop": ("a",) * 257}, "257 stop are too many: 256 may be"),
        ({"tags": frozenset(map(str, range(300)))}, "300 tags are too many: 256 may be"),
        ({"sampling": {"temperature": 5.5}}, "temperature must be from 0 to 5, got 5.5"),
        (
            {"content": "ab\0c"},
            "the prompt holds a NUL character at position 2: is it a binary file?",
        ),
        (
            {"content": "a\ud800"},
            "the prompt is not valid Unicode: U+D800 stands alone at position 1",
        ),
    ],
)
def test_a_request_that_no_model_can_answer_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    """At the door, with what is wrong and where."""
    with pytest.raises(RequestError) as refusal:
        request_of(**settings)
    assert refusal.value.message == message


def test_a_request_without_messages_is_empty() -> None:
    """So is one whose last message is; an earlier one may be."""
    with pytest.raises(RequestError, match="empty"):
        Request(messages=())
    with pytest.raises(RequestError, match="empty"):
        Request(messages=(Message("user", "Hi"), Message("assistant", "")))
    assert Request(messages=(Message("system", ""), Message("user", "Hi")))


def test_a_hole_is_the_whole_prompt_of_a_completion() -> None:
    """It stands without messages, and either side of it may be empty; both only in a warm-up."""
    hole = Hole("a = ", "\n", (Extra("b.py", "b = 1\n"),))
    request = Request(hole=hole, task="completion")
    assert request.texts == ("b.py", "b = 1\n", "a = ", "\n")
    assert (request.turns, request.prompt_tokens, request.is_warm_up) == (0, 15 // 4 + 1, False)
    assert Request(hole=Hole("", "x"), task="completion")
    assert Request(hole=Hole("", ""), task="completion", max_tokens=0).is_warm_up
    with pytest.raises(RequestError, match="the prompt is empty"):
        Request(hole=Hole("", "", hole.extras), task="completion")
    for extra in (Extra(None, "\0"), Extra("\0", "")):
        with pytest.raises(RequestError, match="NUL"):
            Request(hole=Hole("", "x", (extra,)), task="completion")
    for odd in ({"task": "chat"}, {"messages": (Message("user", "Hi"),)}):
        with pytest.raises(RequestError, match="no chat can have one"):
            Request(**{"hole": hole, "task": "completion", **odd})


def test_every_message_is_looked_at() -> None:
    """A NUL in the history is as bad as one in the question."""
    with pytest.raises(RequestError, match="NUL"):
        Request(messages=(Message("system", "\0"), Message("user", "Hi")))


@pytest.mark.parametrize("name", SAMPLING_RANGES)
def test_sampling_takes_its_range_and_nothing_beyond(name: str) -> None:
    """Both ends of each range are allowed; one step further, and NaN, are not."""
    low, high = SAMPLING_RANGES[name]
    for value in (low, high):
        setting: dict[str, Any] = {name: value}
        assert getattr(Sampling(**setting), name) == value
    for value in (low - 1, high + 1, NAN):
        setting = {name: value}
        with pytest.raises(RequestError) as refusal:
            Sampling(**setting)
        assert refusal.value.message == f"{name} must be from {low:,} to {high:,}, got {value:,}"


def test_every_sampling_setting_has_a_range() -> None:
    """A new field without one would go unchecked; biases check themselves."""
    settings = {field.name for field in dataclasses.fields(Sampling)}
    assert set(SAMPLING_RANGES) == settings - {"logit_bias"}


@pytest.mark.parametrize(
    ("sampling", "is_repeatable"),
    [
        (Sampling(), False),
        (Sampling(temperature=0), True),
        (Sampling(seed=0), True),
        (Sampling(temperature=0, seed=7), True),
    ],
)
def test_an_answer_is_repeatable_by_temperature_0_or_a_seed(
    sampling: Sampling,
    is_repeatable: bool,  # noqa: FBT001
) -> None:
    """Only such answers may come from the cache; seed 0 is a seed."""
    assert sampling.is_repeatable is is_repeatable


def test_words_do_not_change() -> None:
    """A request that is on its way stays what it was."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        request_of().model = "other"  # type: ignore[misc]


class Counted(str):
    """A text that counts how often it is encoded."""

    __slots__ = ("times",)

    def encode(self, *arguments: str, **named: str) -> bytes:
        """Count, and encode."""
        self.times = getattr(self, "times", 0) + 1
        return super().encode(*arguments, **named)


def test_tokens_are_counted_once() -> None:
    """A policy may ask for them with each condition; only another request has another number."""
    text = Counted("Hi there")
    request = request_of(text)
    before = text.times
    assert [request.prompt_tokens for _ in range(3)] == [3] * 3
    assert text.times == before
    longer = dataclasses.replace(request, messages=(*request.messages, Message("user", "Hi" * 8)))
    assert longer.prompt_tokens == 7
