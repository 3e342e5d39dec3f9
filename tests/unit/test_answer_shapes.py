"""How an answer's parts become the items, blocks and lines of each dialect: order, names, ends.

The parts are written here; which model would say them does not matter.
"""

import json
from typing import Any

import pytest

from modelrouter.chat import Part
from modelrouter.server.anthropic_answer import Blocks
from modelrouter.server.ollama import _message
from modelrouter.server.responses_answer import Output
from modelrouter.tools import ToolCall

CALLS = (ToolCall("a1", "weather", '{"city":"Paris"}'), ToolCall("a2", "time", "{}"))
PARTS = (Part(reasoning="So "), Part(reasoning="be it."), Part("Let me "), Part("look."))


def data_of(events: list[str]) -> list[dict[str, Any]]:
    """Return what the events hold; each has its type as its name."""
    found = []
    for event in events:
        name, data = event.removeprefix("event: ").split("\ndata: ")
        found.append(json.loads(data))
        assert found[-1]["type"] == name
    return found


def through(receiver: Blocks | Output, *parts: Part) -> list[dict[str, Any]]:
    """Return all events of an answer that comes in these parts."""
    events = [event for part in parts for event in receiver.take(part)]
    return data_of([*events, *receiver.end()])


def test_anthropics_blocks_follow_one_another() -> None:
    """Thoughts, text and each call are a block of their own: begun, added to, ended, in order."""
    events = through(Blocks(), *PARTS, Part(calls=CALLS))
    starts = [event for event in events if event["type"] == "content_block_start"]
    kinds = [event["content_block"]["type"] for event in starts]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert [event["index"] for event in starts] == [0, 1, 2, 3]
    built = ["", "", "", ""]
    for event in events:
        if event["type"] == "content_block_delta":
            (said,) = (text for key, text in event["delta"].items() if key != "type")
            built[event["index"]] += said
    assert built == ["So be it.", "Let me look.", '{"city":"Paris"}', "{}"]
    ends = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert ends == [0, 1, 2, 3]


def test_a_responses_items_follow_one_another() -> None:
    """Reasoning, message and each call are an item of their own; the deltas add up to it."""
    output = Output()
    events = through(output, *PARTS, Part(calls=CALLS))
    items: list[Any] = output.items
    kinds = [item["type"] for item in items]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == items
    assert items[0]["content"] == [{"type": "reasoning_text", "text": "So be it."}]
    assert items[1]["content"][0]["text"] == "Let me look."
    assert (items[2]["call_id"], items[2]["arguments"]) == ("a1", '{"city":"Paris"}')
    for number, item in enumerate(items):
        of_item = [event for event in events if event["output_index"] == number]
        assert {e.get("item_id", item["id"]) for e in of_item} == {item["id"]}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("receiver", [Blocks, Output])
def test_an_answer_without_anything_is_an_empty_text(receiver: type[Blocks | Output]) -> None:
    """Clients that show the first text find one; after a call there is nothing to add."""
    kinds = [event["type"] for event in through(receiver())]
    assert kinds[0] in {"content_block_start", "response.output_item.added"}
    assert kinds[-1] in {"content_block_stop", "response.output_item.done"}
    called = through(receiver(), Part(calls=CALLS[:1]))
    assert not [event for event in called if "text" in json.dumps(event)]


def test_ollamas_message_has_calls_and_thoughts() -> None:
    """Arguments are an object there; thoughts have a field, which is only there with some."""
    assert _message(Part("Hi")) == {"message": {"role": "assistant", "content": "Hi"}}
    whole: Any = _message(Part("", "Hm.", CALLS))["message"]
    assert whole["thinking"] == "Hm."
    assert whole["tool_calls"][0] == {
        "id": "a1",
        "function": {"name": "weather", "arguments": {"city": "Paris"}},
    }
