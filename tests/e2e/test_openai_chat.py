"""Chats as OpenAI's own Python client asks for them: everything beside the plain text."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import openai
import pydantic
import pytest
from conftest import USER_HI, Serve, write_config

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


def test_an_answer_of_a_pydantic_model(serve: Serve, tmp_path: Path, starter_gguf: Path) -> None:
    """The SDK's `parse` gets an object of the class that it asked for."""

    class Cat(pydantic.BaseModel):
        name: Annotated[str, pydantic.Field(max_length=20)]
        age: Annotated[int, pydantic.Field(ge=0, le=30)]
        kind: Literal["house", "wild"]

    url = serve(write_config(tmp_path, starter_gguf, "context = 512")).url
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=50)
    asked: Any = {**HI, "max_tokens": 150, "response_format": Cat}
    cat = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(cat, Cat)
    chunks = client.chat.completions.create(
        **{**asked, "response_format": {"type": "json_object"}}, stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.lstrip().startswith("{")
    with pytest.raises(openai.BadRequestError, match="the JSON schema cannot be used"):
        client.chat.completions.create(**HI, extra_body={"json_schema": {"type": "strin"}})
