"""Anthropic's dialect over real sockets, with PyPI's `anthropic` as one of its clients."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from program import USER_HI, Serve, Server, write_config
from tool_models import PARIS, TOOLS_TEMPLATE, with_template

HI: dict[str, Any] = {"model": "auto", "messages": USER_HI, "max_tokens": 8}
COLD: dict[str, Any] = {**HI, "extra_body": {"temperature": 0}}
"""The same from the SDK, which has no word for it since its second version."""


def client_of(server: Server) -> anthropic.Anthropic:
    """Return an SDK client that does not try again behind our back."""
    return anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0)


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    """Anthropic's own client of it."""
    with client_of(server) as client:
        yield client


@pytest.fixture
def caller(serve: Serve, tmp_path: Path, tiny_gguf: Path) -> Server:
    """A server with the tiny model, whose template knows tools."""
    model = with_template(tiny_gguf, tmp_path / "caller.gguf", TOOLS_TEMPLATE)
    return serve(write_config(tmp_path, model, "context = 1024"))


def test_anthropics_sdk_chats(client: anthropic.Anthropic) -> None:
    """Whole and streamed answers are the same message, with the model that gave it and counts."""
    whole = client.messages.create(**COLD)
    assert (whole.model, whole.role, whole.stop_reason) == ("tiny", "assistant", "max_tokens")
    assert whole.usage.output_tokens == 8
    with client.messages.stream(**COLD) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 8)
    read = final.usage.input_tokens + final.usage.cache_read_input_tokens
    assert read == whole.usage.input_tokens + whole.usage.cache_read_input_tokens


def test_the_stop_sequence_that_ended_it(client: anthropic.Anthropic) -> None:
    """Of several it is told which one; from the cache too."""
    text = client.messages.create(**COLD).content[0].text
    for _ in range(2):
        cut = client.messages.create(**COLD, stop_sequences=["never", text[2:4]])
        assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", text[2:4])
        assert cut.content[0].text == text[: text.index(text[2:4])]


def test_claude_codes_changing_header_is_left_out(server: Server) -> None:
    """Two requests that differ in it alone are one prompt: the second comes from the cache."""
    uses = []
    for cch in ("a1b2c", "d3e4f"):
        billing = f"x-anthropic-billing-header: cc_version=2.1; cch={cch};"
        blocks = [{"type": "text", "text": billing}, {"type": "text", "text": "Be brief."}]
        status, answer = server.post(
            "/v1/messages?beta=true", {**HI, "temperature": 0, "system": blocks}
        )
        assert status == 200
        uses.append(answer["usage"])
    plain = {**HI, "temperature": 0, "system": "Be brief."}
    assert server.post("/v1/messages", plain)[1]["usage"] == uses[0] == uses[1]


def test_a_tool_is_called_and_answers(caller: Server) -> None:
    """A forced call is a block with its input, streamed or not; its result is the next turn."""
    tool: Any = {"name": "weather", "input_schema": PARIS}
    asked: Any = {**COLD, "max_tokens": 100, "tools": [tool]}
    forced: Any = {**asked, "tool_choice": {"type": "any"}}
    with client_of(caller) as client:
        whole = client.messages.create(**forced)
        with client.messages.stream(**forced) as stream:
            streamed = stream.get_final_message()
        for answer in (whole, streamed):
            assert answer.stop_reason == "tool_use"
            (use,) = answer.content
            assert (use.type, use.name, use.input) == ("tool_use", "weather", {"city": "Paris"})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "Sunny."}
        talk = [
            *USER_HI,
            {"role": "assistant", "content": whole.content},
            {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
        ]
        counted = client.messages.count_tokens(model="auto", messages=talk, tools=[tool])
        bare = client.messages.count_tokens(model="auto", messages=talk)
        assert counted.input_tokens > bare.input_tokens
        assert client.messages.create(**{**asked, "max_tokens": 8, "messages": talk}).usage


def test_an_answer_is_held_to_a_schema(client: anthropic.Anthropic) -> None:
    """What comes is JSON of the schema, from a model of random weights too."""
    form = {"type": "json_schema", "schema": PARIS}
    answer = client.messages.create(**{**COLD, "max_tokens": 100}, output_config={"format": form})
    assert json.loads(answer.content[0].text) == {"city": "Paris"}


def test_tokens_are_counted_without_loading(client: anthropic.Anthropic, server: Server) -> None:
    """The count grows with all that is asked, and no model is loaded for it."""
    short = client.messages.count_tokens(model="auto", messages=USER_HI).input_tokens
    long = client.messages.count_tokens(model="auto", messages=USER_HI, system="x" * 400)
    assert 0 < short < long.input_tokens - 99
    assert not server.workers()


def test_anthropics_sdk_gets_typed_errors(client: anthropic.Anthropic) -> None:
    """An unknown model is its NotFoundError, a long prompt says so in the words agents look for."""
    with pytest.raises(anthropic.NotFoundError, match='did you mean "tiny"'):
        client.messages.create(**{**HI, "model": "tinyy"})
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: the prompt has"):
        client.messages.create(**{**HI, "messages": [{"role": "user", "content": "x" * 9000}]})


def test_anthropics_sdk_leaves(starter: Server) -> None:
    """Closing a stream in the middle frees the only slot for the next."""
    with client_of(starter) as client:
        with client.messages.stream(**{**HI, "max_tokens": 5000}) as stream:
            next(iter(stream.text_stream))
            starter.wait_for("smollm2", active=1)
        assert client.messages.create(**{**HI, "max_tokens": 2}).usage.output_tokens == 2
        starter.wait_for("smollm2", active=0)


def test_a_stream_that_fails_ends_in_an_error_event(starter: Server) -> None:
    """A worker that dies in the middle of the answer is the SDK's error, not a short answer."""
    with (
        client_of(starter) as client,
        client.messages.stream(**{**HI, "max_tokens": 5000}) as stream,
    ):
        texts = iter(stream.text_stream)
        next(texts)
        starter.workers()[0].kill()
        with pytest.raises(anthropic.APIStatusError, match="signal 9"):
            list(texts)


def test_anthropics_events_on_the_wire(server: Server) -> None:
    """Each event has its name, and they come in the order that clients build a message by."""
    data = server.read_all("/v1/messages", {**HI, "stream": True})
    names = [line.removeprefix("event: ") for line in data.splitlines() if line.startswith("event")]
    texts = names.count("content_block_delta")
    assert [name for name in names if name != "ping"] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * texts,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert '"delta":{"type":"text_delta","text":"' in data


def test_a_nested_body_is_refused_in_few_words(server: Server) -> None:
    """A block inside a block, hundreds deep, is wrong in as many places; a few are told."""
    block: Any = {"type": "text", "text": "Hi"}
    for _ in range(350):
        block = {"type": "tool_result", "content": [block]}
    status, answer = server.post(
        "/v1/messages", {**HI, "messages": [{"role": "user", "content": [block]}]}
    )
    assert status == 400
    assert answer["error"]["message"].endswith(" more")
    assert len(answer["error"]["message"]) < 3000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": []}, "messages: Tuple should have at least 1 item"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [*USER_HI, {"role": "assistant", "content": "So"}]}, "a begun answer"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "of the type bash_20250124"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a"}]}]},
            "a tool_use block stands in a message of the assistant's",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "content of the type image",
        ),
    ],
)
def test_bad_anthropic_bodies(server: Server, change: Any, said: str) -> None:
    """What cannot be answered is 400 in Anthropic's shape; never 422 or 500."""
    status, answer = server.post("/v1/messages", {**HI, **change})
    assert (status, answer["type"], answer["error"]["type"]) == (
        400,
        "error",
        "invalid_request_error",
    )
    assert said in answer["error"]["message"]
