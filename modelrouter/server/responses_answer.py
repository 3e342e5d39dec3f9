"""Answers in the shapes of OpenAI's Responses: the response at each moment, its items, its events.

It knows the shapes and their order, not what may be asked.
"""

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Literal

from modelrouter.chat import Part
from modelrouter.errors import ModelRouterError
from modelrouter.reply import Reply
from modelrouter.server import sse
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.errors import failure_of
from modelrouter.tools import ToolCall
from modelrouter.trace import Fact

Kind = Literal["reasoning", "message"]

PARTS: Mapping[Kind, str] = {"reasoning": "reasoning_text", "message": "output_text"}
"""What the text in an item of either kind is called, in its parts and in its events."""


class Answer:
    """One response: how it looks at each moment, and the events that build it."""

    def __init__(self, model: str, repeated: Mapping[str, Fact]) -> None:
        """Begin a response to a request for `model`, with what it says again of the request."""
        self._asked = model or "auto"
        self._output = Output()
        self._shared: dict[str, Fact] = {
            "id": _new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "background": False,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "metadata": {},
            **repeated,
        }

    def whole(self, reply: Reply) -> dict[str, Fact]:
        """Return it with its answer."""
        everything = Part(reply.text, reply.reasoning, tuple(reply.tool_calls))
        for _ in (*self._output.take(everything), *self._output.end()):
            pass  # a whole response is its items; nobody waits for the events between
        return self._done(reply)

    async def events(self, answering: Answering) -> AsyncIterator[str]:
        """Yield the events in their order; comments while there is nothing to tell."""
        begun = self._object("in_progress", self._asked)
        yield self._output.event("response.created", response=begun)
        yield self._output.event("response.in_progress", response=begun)
        try:
            async for part in answering.parts():
                if isinstance(part, SignOfLife):
                    yield sse.comment(part.said)
                    continue
                for event in self._output.take(part):
                    yield event
        except ModelRouterError as error:
            yield self._output.event("response.failed", response=self._failed(error))
            return
        for event in self._output.end():
            yield event
        assert answering.reply is not None
        done = self._done(answering.reply)
        yield self._output.event(f"response.{done['status']}", response=done)

    def _done(self, reply: Reply) -> dict[str, Fact]:
        why: Fact = {"reason": "max_output_tokens"} if reply.finish == "length" else None
        return self._object(
            "completed" if why is None else "incomplete",
            reply.model,
            incomplete_details=why,
            output=self._output.items,
            usage=_usage(reply),
        )

    def _failed(self, error: ModelRouterError) -> dict[str, Fact]:
        failure = failure_of(error)
        told: Fact = {"code": failure.code, "message": failure.message}
        return self._object("failed", self._asked, error=told)

    def _object(self, status: str, model: str, **known: Fact) -> dict[str, Fact]:
        """Return the response's object with what is `known` of it by now."""
        unknown: dict[str, Fact] = {
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return {**self._shared, "status": status, "model": model, **unknown, **known}


class Output:
    """The items of one response: reasoning, a message, calls, as the answer's parts come in."""

    def __init__(self) -> None:
        """Begin without items."""
        self.items: list[Fact] = []
        self._numbers = itertools.count()
        self._kind: Kind | None = None
        self._id = ""
        self._text = ""

    def event(self, kind: str, **fields: Fact) -> str:
        """Return an event with the next number."""
        return sse.event({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def take(self, part: Part) -> Iterator[str]:
        """Add what comes next; yield its events."""
        if part.reasoning:
            yield from self._say("reasoning", part.reasoning)
        if part.text:
            yield from self._say("message", part.text)
        for call in part.calls:
            yield from self._close()
            yield from self._call(call)

    def end(self) -> Iterator[str]:
        """Close what is open; an answer without anything is an empty message."""
        if self._kind is None and not self.items:
            yield from self._open("message")
        yield from self._close()

    def _say(self, kind: Kind, text: str) -> Iterator[str]:
        if self._kind != kind:
            yield from self._close()
            yield from self._open(kind)
        self._text += text
        yield self._of_part(f"response.{PARTS[kind]}.delta", delta=text, **_chances(kind))

    def _open(self, kind: Kind) -> Iterator[str]:
        self._kind, self._id, self._text = kind, _new_id(kind), ""
        yield self._of_item("response.output_item.added", item=self._item(kind, "in_progress", []))
        yield self._of_part("response.content_part.added", part=self._part(kind))

    def _close(self) -> Iterator[str]:
        if (kind := self._kind) is None:
            return
        part = self._part(kind)
        item = self._item(kind, "completed", [part])
        yield self._of_part(f"response.{PARTS[kind]}.done", text=self._text, **_chances(kind))
        yield self._of_part("response.content_part.done", part=part)
        yield self._of_item("response.output_item.done", item=item)
        self.items.append(item)
        self._kind = None

    def _call(self, call: ToolCall) -> Iterator[str]:
        self._id = _new_id("call")
        begun = self._call_item(call, "in_progress", "")
        done = self._call_item(call, "completed", call.arguments)
        kind = "response.function_call_arguments"
        yield self._of_item("response.output_item.added", item=begun)
        yield self._of_item(f"{kind}.delta", item_id=self._id, delta=call.arguments)
        yield self._of_item(
            f"{kind}.done", item_id=self._id, name=call.name, arguments=call.arguments
        )
        yield self._of_item("response.output_item.done", item=done)
        self.items.append(done)

    def _of_item(self, kind: str, **fields: Fact) -> str:
        return self.event(kind, output_index=len(self.items), **fields)

    def _of_part(self, kind: str, **fields: Fact) -> str:
        return self._of_item(kind, item_id=self._id, content_index=0, **fields)

    def _item(self, kind: Kind, status: str, content: list[Fact]) -> dict[str, Fact]:
        rest: dict[str, Fact] = {"role": "assistant"} if kind == "message" else {"summary": []}
        return {"id": self._id, "type": kind, "status": status, **rest, "content": content}

    def _call_item(self, call: ToolCall, status: str, arguments: str) -> dict[str, Fact]:
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "call_id": call.id,
            "name": call.name,
            "arguments": arguments,
        }

    def _part(self, kind: Kind) -> dict[str, Fact]:
        notes: dict[str, Fact] = {"annotations": []} if kind == "message" else {}
        return {"type": PARTS[kind], "text": self._text, **notes, **_chances(kind)}


def _chances(kind: Kind) -> dict[str, Fact]:
    """Return the field for tokens' chances, which a message must have and nobody can ask for."""
    return {"logprobs": []} if kind == "message" else {}


def _new_id(kind: str) -> str:
    starts = {"message": "msg", "reasoning": "rs", "call": "fc"}
    return f"{starts.get(kind, kind)}_{uuid.uuid4().hex}"


def _usage(reply: Reply) -> dict[str, Fact]:
    """Return the counts. Of reasoning's tokens there is no count of their own."""
    usage = reply.usage
    assert usage is not None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
