"""Chats as OpenAI's own Python client asks for them: everything beside the plain text."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import openai
import pydantic
import pytest
from program import USER_HI, Serve, write_config
from tool_models import TOOLS_TEMPLATE, with_template

Connect: TypeAlias = Callable[[str], openai.OpenAI]

HI: Any = {"model": "auto", "messages": USER_HI, "max_tokens": 8, "seed": 1}


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a maker of clients, which do not try again behind our back; they are closed after."""
    with ExitStack() as clients:

        def make(url: str) -> openai.OpenAI:
            made = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=50)
            return clients.enter_context(made)

        yield make


@pytest.fixture
def client(connect: Connect, serve: Serve, tiny_config: Path) -> openai.OpenAI:
    """A client of a server with the tiny model."""
    return connect(serve(tiny_config).url)


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


def test_an_answer_of_a_pydantic_model(
    connect: Connect, serve: Serve, tmp_path: Path, starter_gguf: Path
) -> None:
    """The SDK's `parse` gets an object of the class that it asked for."""

    class Cat(pydantic.BaseModel):
        name: Annotated[str, pydantic.Field(max_length=20)]
        age: Annotated[int, pydantic.Field(ge=0, le=30)]
        kind: Literal["house", "wild"]

    url = serve(write_config(tmp_path, starter_gguf, "context = 512")).url
    client = connect(url)
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


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Looks out of the window",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def caller(connect: Connect, serve: Serve, tmp_path: Path, tiny_gguf: Path) -> openai.OpenAI:
    """A client of a tiny model whose template knows tools."""
    model = with_template(tiny_gguf, tmp_path / "caller.gguf", TOOLS_TEMPLATE)
    url = serve(write_config(tmp_path, model, "context = 1024")).url
    return connect(url)


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str
)
def test_a_tool_that_must_be_called(caller: openai.OpenAI, choice: Any) -> None:
    """Even a model of random weights calls it with arguments of its schema; streamed it is the same
    call, whole in one delta; and the conversation goes on with its result.
    """
    asked: Any = {**HI, "max_tokens": 100, "tools": [WEATHER], "tool_choice": choice}
    answer = caller.chat.completions.create(**asked).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert answer.message.content is None
    [call] = answer.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Rome"}
    chunks = list(caller.chat.completions.create(**asked, stream=True))
    deltas = [c.choices[0].delta for c in chunks if c.choices and c.choices[0].delta.tool_calls]
    [streamed] = [each for delta in deltas for each in delta.tool_calls or []]
    assert streamed.index == 0
    assert streamed.id
    assert streamed.function is not None
    assert streamed.function.arguments == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "<|im_end|>sun"}
    messages = [*USER_HI, answer.message, result]
    follow_up: Any = {**HI, "messages": messages, "tools": [WEATHER]}
    assert caller.chat.completions.create(**follow_up).choices[0].finish_reason


def test_tools_that_the_model_does_not_know(client: openai.OpenAI) -> None:
    """The starter's kind of template has no word for tools: refused, and the model goes on."""
    with pytest.raises(openai.BadRequestError, match="chat template knows no tools"):
        client.chat.completions.create(**HI, tools=[WEATHER])
    free = client.chat.completions.create(**HI, tools=[WEATHER], tool_choice="none")
    assert free.choices[0].message.tool_calls is None


def test_reasoning_has_a_place_of_its_own(
    connect: Connect, serve: Serve, tmp_path: Path, tiny_gguf: Path
) -> None:
    """Where the template opens the reasoning, what comes is reasoning until it is closed."""
    template = TOOLS_TEMPLATE + "<think>\n"
    model = with_template(tiny_gguf, tmp_path / "thinker.gguf", template)
    url = serve(write_config(tmp_path, model, "context = 512")).url
    client = connect(url)
    message: Any = client.chat.completions.create(**HI).choices[0].message
    assert message.content == ""
    assert message.reasoning_content
    deltas: list[Any] = [
        chunk.choices[0].delta
        for chunk in client.chat.completions.create(**HI, stream=True)
        if chunk.choices
    ]
    told = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert "".join(told) == message.reasoning_content


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"tools": [{"type": "web_search"}]}, "a tool of the type web_search cannot be offered"),
        (
            {"tool_choice": "required"},
            "wants a tool to be called, and there are no tools",
        ),
        ({"tool_choice": "maybe"}, "tool_choice is none of auto, none, required and the name of"),
        ({"functions": [{"name": "f"}]}, "functions and function_call are of an API that is gone"),
        ({"modalities": ["text", "audio"]}, "content of the type audio cannot be read"),
        ({"web_search_options": {}}, "this server cannot search the web"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "content of the type image_url cannot be read: the models here take text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "a part of a message's content has a type, and for text a text",
        ),
        (
            {"messages": [*USER_HI, {"role": "tool", "content": "x"}]},
            "a message of the role tool, and no other, has a tool_call_id",
        ),
    ],
)
def test_wishes_that_are_refused(client: openai.OpenAI, wish: Any, said: str) -> None:
    """What would change the answer and cannot be done is told, never passed over."""
    with pytest.raises(openai.BadRequestError, match=re.escape(said)):
        client.chat.completions.create(**{**HI, **wish})


def test_all_that_changes_nothing_is_taken(client: openai.OpenAI) -> None:
    """Roles, parts and keys of OpenAI's own are no hindrance."""
    parts: Any = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts, "name": "Ada"},
        {"role": "assistant", "content": "Yes?", "refusal": None},
        {"role": "user", "content": "Hi"},
    ]
    asked: Any = {
        **HI,
        "messages": messages,
        "stop": [f"stop {n}" for n in range(40)],
        "max_completion_tokens": 3,
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "reasoning_effort": "low",
        "service_tier": "auto",
        "store": False,
        "metadata": {"a": "b"},
        "user": "u",
        "verbosity": "low",
    }
    usage = client.chat.completions.create(**asked).usage
    assert usage is not None
    assert usage.completion_tokens <= 3
    again = client.chat.completions.create(**{**asked, "seed": 2}).usage
    assert again is not None
    assert again.prompt_tokens_details is not None
    assert (again.prompt_tokens_details.cached_tokens or 0) > 0


def test_the_end_tells_the_times(client: openai.OpenAI) -> None:
    """Whole answers and the last chunk of a stream have llama.cpp's `timings`."""
    asked: Any = {**HI, "extra_body": {"cache": False}}
    whole: Any = client.chat.completions.create(**asked)
    *_, last = client.chat.completions.create(**asked, stream=True)
    for answer in (whole, last):
        times = answer.timings
        assert times["predicted_n"] == whole.usage.completion_tokens
        assert times["prompt_n"] + times["cache_n"] == whole.usage.prompt_tokens
        assert times["predicted_ms"] > 0
        assert times["predicted_per_second"] > 0
    assert last.timings["cache_n"] > 0


def test_llama_cpps_name_for_the_bound(client: openai.OpenAI) -> None:
    """`n_predict` bounds an answer where no key of OpenAI's does; -1 leaves it free."""
    asked = {key: value for key, value in HI.items() if key != "max_tokens"}
    bounded: Any = client.chat.completions.create(**asked, extra_body={"n_predict": 2})
    assert bounded.usage.completion_tokens <= 2
    both: Any = client.chat.completions.create(**asked, max_tokens=3, extra_body={"n_predict": -1})
    assert both.usage.completion_tokens <= 3
