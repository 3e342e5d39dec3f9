"""Chats as OpenAI's own Python client asks for them: everything beside the plain text."""

import math
from pathlib import Path
from typing import Any

import openai
import pytest
from conftest import USER_HI, Serve

HI: Any = {"model": "auto", "messages": USER_HI, "max_tokens": 8, "seed": 1}


@pytest.fixture
def client(serve: Serve, tiny_config: Path) -> openai.OpenAI:
    """A client of a server with the tiny model; it does not try again behind our back."""
    return openai.OpenAI(
        base_url=f"{serve(tiny_config).url}/v1", api_key="any", max_retries=0, timeout=50
    )


def test_logprobs(client: openai.OpenAI) -> None:
    """Every token of the text has its chance and the likeliest in its place, streamed or not,
    fresh or from the cache.
    """
    asked: Any = {**HI, "temperature": 1, "logprobs": True, "top_logprobs": 3}
    for _ in ("miss", "hit"):
        choice = client.chat.completions.create(**asked).choices[0]
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        text = b"".join(bytes(token.bytes or []) for token in tokens).decode(errors="replace")
        assert text == choice.message.content
        for token in tokens:
            chances = [math.exp(other.logprob) for other in token.top_logprobs]
            assert len(chances) == 3
            assert chances == sorted(chances, reverse=True)
            assert sum(chances) <= 1
            assert token.logprob <= token.top_logprobs[0].logprob <= 0
        streamed = [
            token
            for chunk in client.chat.completions.create(**asked, stream=True)
            if chunk.choices and chunk.choices[0].logprobs
            for token in chunk.choices[0].logprobs.content or []
        ]
        assert streamed == tokens


def test_no_logprobs_unless_asked_for(client: openai.OpenAI) -> None:
    """An answer without them says null, as OpenAI's does."""
    assert client.chat.completions.create(**HI).choices[0].logprobs is None


def test_a_token_is_banned(client: openai.OpenAI) -> None:
    """The first token of an answer does not come where its bias forbids it."""
    asked: Any = {**HI, "temperature": 0, "max_tokens": 1}
    first = client.chat.completions.create(**asked, logit_bias={"0": 0})
    free = first.choices[0].message.content
    banned: dict[str, int] = {str(token): -100 for token in range(200)}
    kept = client.chat.completions.create(**asked, logit_bias=banned).choices[0].message.content
    again = client.chat.completions.create(**asked).choices[0].message.content
    assert again == free
    assert (kept != free) == (len((free or "").encode()) == 1)


def test_several_answers_are_one(client: openai.OpenAI) -> None:
    """`n` never multiplies the work: there is one choice, and a header says so."""
    raw = client.chat.completions.with_raw_response.create(**HI, n=3)
    assert raw.headers["x-modelrouter-n"] == "1"
    assert len(raw.parse().choices) == 1
    assert "x-modelrouter-n" not in client.chat.completions.with_raw_response.create(**HI).headers
