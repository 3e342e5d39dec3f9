"""What fields of a body mean, where several dialects have them: the same in each."""

from typing import Any

import pytest

from modelrouter.errors import RequestError
from modelrouter.server.anthropic import Conversation
from modelrouter.server.completing import Completing
from modelrouter.server.completions import CompletionBody
from modelrouter.server.ollama import Options
from modelrouter.server.openai_request import ChatRequest
from modelrouter.server.sampling import SamplingFields
from modelrouter.types import Request

HI = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> Request:
    """Return the request of a chat with these fields."""
    return ChatRequest.model_validate({"messages": HI, **fields}).to_request({})


def completion(**fields: Any) -> Request:
    """Return the request of a completion with these fields."""
    return Completing.model_validate(fields).request("Hi", "", {})


BOTH = pytest.mark.parametrize("asking", [chat, completion])


@pytest.mark.parametrize("body", [ChatRequest, Completing, Options, Conversation])
def test_a_seed_below_zero_asks_for_a_fresh_one(body: type[SamplingFields]) -> None:
    """In every dialect, also for a model that has a seed in models.toml."""
    drawn = body.model_validate({"messages": HI, "seed": -1}).overrides()
    assert drawn == {"seed": None}


@BOTH
@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"n_predict": 5}, 5),
        ({"n_predict": -1}, None),
        ({"max_tokens": 3, "n_predict": 5}, 3),
        ({"max_tokens": 3, "n_predict": -1}, 3),
        ({"max_tokens": 0, "n_predict": 5}, 0),
        ({"max_tokens": None, "n_predict": 5}, 5),
    ],
)
def test_the_bound_is_the_first_that_is_there(
    asking: Any, fields: dict[str, int | None], most: int | None
) -> None:
    """OpenAI's key comes before llama.cpp's, whose negative numbers bound nothing."""
    assert asking(**fields).max_tokens == most


@BOTH
@pytest.mark.parametrize(
    ("sent", "stop"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ()), (None, ())]
)
def test_stop_is_one_text_or_a_list(asking: Any, sent: Any, stop: tuple[str, ...]) -> None:
    """However it is sent, it is the same request."""
    assert asking(stop=sent).stop == stop


@BOTH
def test_a_form_may_be_a_grammar_or_a_schema(asking: Any) -> None:
    """One of them; an empty grammar, which some clients always send, is none."""
    assert asking(grammar='root ::= "a"').answer_format.kind == "gbnf"
    assert asking(grammar="", json_schema={}).answer_format.kind == "json_schema"
    assert asking(grammar="").answer_format is None
    with pytest.raises(RequestError, match="only one of them may"):
        asking(grammar='root ::= "a"', json_schema={})


@pytest.mark.parametrize("body", [ChatRequest, CompletionBody])
@pytest.mark.parametrize("sent", [None, {}, {"include_usage": None}])
def test_a_stream_has_no_usage_where_null_is_sent(
    body: type[ChatRequest | CompletionBody], sent: Any
) -> None:
    """`null` is as good as nothing, also inside of stream_options."""
    read = body.model_validate({"messages": HI, "prompt": "Hi", "stream_options": sent})
    assert read.stream_options.include_usage is False
