"""OpenAI's Responses dialect over real sockets, with PyPI's `openai` as one of its clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from program import Serve, Server, write_config
from tool_models import PARIS, TOOLS_TEMPLATE, with_template

HI: dict[str, Any] = {
    "model": "auto",
    "input": "Hi",
    "temperature": 0,
    "max_output_tokens": 8,
}


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's own client of it, which does not try again behind our back."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def caller(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> Server:
    """A server with the tiny model, whose template knows tools."""
    model = with_template(tiny_gguf, tmp_path / "caller.gguf", TOOLS_TEMPLATE)
    return serve(write_config(tmp_path, model, "context = 1024"))


def test_the_sdk_gets_a_response(client: openai.OpenAI) -> None:
    """A string, or items with the same words, is answered; what a response must have is there."""
    whole = client.responses.create(**HI)
    assert (whole.model, whole.status) == ("tiny", "incomplete")
    assert whole.incomplete_details.reason == "max_output_tokens"
    usage = whole.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (usage.output_tokens, usage.output_tokens_details.reasoning_tokens) == (8, 0)
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]
    items = client.responses.create(**{**HI, "input": said})
    assert items.output_text == whole.output_text != ""
    ruled = client.responses.create(**HI, instructions="Be brief.", store=True)
    assert ruled.usage.input_tokens > usage.input_tokens
    assert ruled.instructions == "Be brief."


def test_an_answer_is_the_next_input(client: openai.OpenAI) -> None:
    """The output of one response, sent back as it is, is the conversation so far."""
    first = client.responses.create(**HI)
    question = {"role": "user", "content": "And?"}
    talk = [{"role": "user", "content": "Hi"}, *first.output, question]
    second = client.responses.create(**{**HI, "input": talk})
    assert second.usage.input_tokens > first.usage.input_tokens + 8


def test_events_come_in_their_order(client: openai.OpenAI) -> None:
    """The SDK puts the same response together from the events, which are numbered."""
    whole = client.responses.create(**HI)
    events = list(client.responses.create(**HI, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    texts = [event for event in events if event.type == "response.output_text.delta"]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(texts),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert "".join(event.delta for event in texts) == whole.output_text
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage
    assert len({event.response.id for event in (events[0], events[-1])}) == 1


def test_a_function_is_called_and_answers(caller: Server) -> None:
    """A forced call is an item, streamed or not; sent back with its output it is the next turn."""
    tool = {"type": "function", "name": "weather", "parameters": PARIS}
    asked: Any = {**HI, "max_output_tokens": 100, "tools": [tool]}
    forced: Any = {**asked, "tool_choice": "required"}
    with openai.OpenAI(base_url=f"{caller.url}/v1", api_key="any", max_retries=0) as client:
        whole = client.responses.create(**forced)
        last = list(client.responses.create(**forced, stream=True))[-1]
        for response in (whole, last.response):
            (call,) = response.output
            assert (response.status, call.type, call.name) == (
                "completed",
                "function_call",
                "weather",
            )
            assert json.loads(call.arguments) == {"city": "Paris"}
        answered = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
        talk = [{"role": "user", "content": "Hi"}, call, answered]
        again = client.responses.create(**{**asked, "max_output_tokens": 8, "input": talk})
        assert again.usage.input_tokens > whole.usage.input_tokens


def test_text_is_held_to_a_schema(client: openai.OpenAI) -> None:
    """What comes is JSON of the schema, from a model of random weights too."""
    form: Any = {"type": "json_schema", "name": "place", "schema": PARIS}
    answer = client.responses.create(**{**HI, "max_output_tokens": 100}, text={"format": form})
    assert json.loads(answer.output_text) == {"city": "Paris"}
    assert answer.text.format.type == "json_schema"


def test_a_response_that_fails_says_so(serve: Serve, tmp_path: Path, starter_gguf: Path) -> None:
    """A worker that dies in the middle of the answer is the stream's last event."""
    server = serve(write_config(tmp_path / "one", starter_gguf, "context = 8192", name="smollm2"))
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        stream = client.responses.create(**{**HI, "max_output_tokens": 5000}, stream=True)
        next(event for event in stream if event.type == "response.output_text.delta")
        server.workers()[0].kill()
        last = list(stream)[-1]
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert last.response.error.code == "worker_died"
    assert "signal 9" in last.response.error.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": None}, "input: Field required"),
        ({"input": []}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input items of the type web_search_call"),
        ({"input": [{"content": [{"type": "input_image"}]}]}, "of the type input_image"),
        ({"previous_response_id": "resp_1"}, "there is no previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "a tool of the type web_search"),
        ({"tool_choice": "sometimes"}, "tool_choice is none of"),
        ({"text": {"format": {"type": "xml"}}}, "text.format xml is none of"),
        ({"background": True}, "there is no background"),
        ({"max_output_tokens": -1}, "max_tokens must be at least"),
    ],
)
def test_bad_responses_bodies(server: Server, change: Any, said: str) -> None:
    """What cannot be answered is 400 in OpenAI's shape; never 422 or 500."""
    status, answer = server.post("/v1/responses", {**HI, **change})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert said in answer["error"]["message"]
