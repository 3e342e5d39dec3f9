"""Answers in the shapes of Anthropic's Messages: blocks of thoughts, text and calls, their events.

It knows the shapes and their order, not what may be asked.
"""

import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Literal

from modelrouter.chat import Part
from modelrouter.errors import ModelRouterError
from modelrouter.generation import Usage
from modelrouter.reply import Reply
from modelrouter.server import sse
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.errors import anthropic_body, error_body
from modelrouter.tools import ToolCall
from modelrouter.trace import Fact

Kind = Literal["thinking", "text"]

EMPTY: Mapping[Kind, dict[str, Fact]] = {
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
}
"""A block of either kind before anything is in it. Only Anthropic can sign thoughts."""


def message(reply: Reply) -> dict[str, Fact]:
    """Return a whole answer."""
    thought: Fact = {**EMPTY["thinking"], "thinking": reply.reasoning}
    text: Fact = {**EMPTY["text"], "text": reply.text}
    calls: list[Fact] = [_tool_use(call, json.loads(call.arguments)) for call in reply.tool_calls]
    content = [*([thought] if reply.reasoning else []), *([text] if reply.text else []), *calls]
    return {**_head(reply), "content": content or [text], **_stop(reply), "usage": _usage(reply)}


async def events(answering: Answering) -> AsyncIterator[str]:
    """Yield an answer's events; nothing but pings until it is known who answers."""
    blocks = Blocks()
    has_begun = False
    try:
        async for part in answering.parts():
            if isinstance(part, SignOfLife):
                yield _event("ping")
                continue
            if not has_begun:
                yield _start(answering)
                has_begun = True
            for event in blocks.take(part):
                yield event
    except ModelRouterError as error:
        yield sse.event(error_body(error, anthropic_body), "error")
        return
    if not has_begun:
        yield _start(answering)
    for event in blocks.end():
        yield event
    reply = answering.reply
    assert reply is not None
    yield _event("message_delta", delta=_stop(reply), usage=_usage(reply))
    yield _event("message_stop")


class Blocks:
    """The blocks of one streamed message, as the answer's parts come in."""

    def __init__(self) -> None:
        """Begin without blocks."""
        self._index = 0
        self._kind: Kind | None = None

    def take(self, part: Part) -> Iterator[str]:
        """Yield the events of what comes next."""
        if part.reasoning:
            yield from self._say("thinking", {"type": "thinking_delta", "thinking": part.reasoning})
        if part.text:
            yield from self._say("text", {"type": "text_delta", "text": part.text})
        for call in part.calls:
            yield from self._call(call)

    def end(self) -> Iterator[str]:
        """Close what is open; an answer without anything is an empty text."""
        if self._kind is None and self._index == 0:
            yield from self._open("text")
        yield from self._close()

    def _say(self, kind: Kind, delta: dict[str, Fact]) -> Iterator[str]:
        if self._kind != kind:
            yield from self._close()
            yield from self._open(kind)
        yield self._of_block("content_block_delta", delta=delta)

    def _call(self, call: ToolCall) -> Iterator[str]:
        yield from self._close()
        arguments: Fact = {"type": "input_json_delta", "partial_json": call.arguments}
        yield self._of_block("content_block_start", content_block=_tool_use(call, {}))
        yield self._of_block("content_block_delta", delta=arguments)
        yield self._of_block("content_block_stop")
        self._index += 1

    def _open(self, kind: Kind) -> Iterator[str]:
        self._kind = kind
        yield self._of_block("content_block_start", content_block=EMPTY[kind])

    def _close(self) -> Iterator[str]:
        if self._kind is not None:
            yield self._of_block("content_block_stop")
            self._kind = None
            self._index += 1

    def _of_block(self, kind: str, **fields: Fact) -> str:
        return _event(kind, index=self._index, **fields)


def _start(answering: Answering) -> str:
    reply = answering.reply
    assert reply is not None
    nothing: dict[str, Fact] = {"content": [], "stop_reason": None, "stop_sequence": None}
    begun: Fact = {**_head(reply), **nothing, "usage": _usage(reply)}
    return _event("message_start", message=begun)


def _head(reply: Reply) -> dict[str, Fact]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
    }


def _stop(reply: Reply) -> dict[str, Fact]:
    return {"stop_reason": _stop_reason(reply), "stop_sequence": reply.stopped_by}


def _stop_reason(reply: Reply) -> str:
    if reply.finish == "length":
        return "max_tokens"
    if reply.stopped_by is not None:
        return "stop_sequence"
    return "tool_use" if reply.tool_calls else "end_turn"


def _tool_use(call: ToolCall, arguments: Fact) -> dict[str, Fact]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _usage(reply: Reply) -> dict[str, Fact]:
    """Return the counts; until the prompt is read there is only a guess, as in a stream's start."""
    usage = reply.usage or Usage(reply.route.request.prompt_tokens, 0, 0)
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def _event(kind: str, **fields: Fact) -> str:
    return sse.event({"type": kind, **fields}, kind)
