"""OpenAI's Responses dialect, the stateless part of it: `/v1/responses`, whole and as events.

Field names and shapes are those of the OpenAI API reference. Nothing is kept between requests: what
would need that is refused, `store` is passed over.
"""

import itertools
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from modelrouter import types
from modelrouter.errors import ModelRouterError, RequestError
from modelrouter.reply import Reply
from modelrouter.server import exchange, sse
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.bodies import Body
from modelrouter.server.content import text_of
from modelrouter.server.errors import failure_of
from modelrouter.server.headers import from_headers
from modelrouter.server.sampling import SamplingFields
from modelrouter.trace import Fact

routes = APIRouter(prefix="/v1")


class Item(Body):
    """One item of the input: a message, unless it says otherwise."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] = "user"
    content: str | tuple[dict[str, Any], ...] = ""

    def to_message(self) -> types.Message:
        """Return the turn in our words."""
        if self.type != "message":
            raise RequestError(f"this server cannot do input items of the type {self.type}")
        speaker: types.Speaker = "system" if self.role == "developer" else self.role
        return types.Message(speaker, text_of(self.content))


class Format(Body):
    """The form that the answer's text is to have."""

    type: str = "text"


class TextOptions(Body):
    """What is wanted of the answer's text."""

    format: Format = Format()


class ResponsesBody(SamplingFields):
    """The body of `/v1/responses`. Thoughts in `input` are not shown again."""

    model: str = ""
    input: str | Annotated[tuple[Item, ...], Field(min_length=1)]
    instructions: str = ""
    max_output_tokens: int | None = None
    stream: bool = False
    tools: tuple[Any, ...] = ()
    text: TextOptions = TextOptions()
    previous_response_id: str = ""
    conversation: Any = None
    background: bool = False

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_state()
        self._refuse_unbuilt()
        return types.Request(
            messages=self._messages(),
            model=self.model or None,
            max_tokens=self.max_output_tokens,
            sampling=self.overrides(),
            **from_headers(request.headers),
        )

    def repeated(self) -> dict[str, Fact]:
        """Return what the response says again of the request."""
        return {
            "instructions": self.instructions or None,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "text": {"format": {"type": self.text.format.type}},
            "tool_choice": "auto",
            "tools": list(self.tools),
        }

    def _messages(self) -> tuple[types.Message, ...]:
        first = (types.Message("system", self.instructions),) if self.instructions else ()
        if isinstance(self.input, str):
            return (*first, types.Message("user", self.input))
        said = (item for item in self.input if item.type != "reasoning")
        return (*first, *(item.to_message() for item in said))

    def _refuse_state(self) -> None:
        state = {
            "previous_response_id": self.previous_response_id,
            "conversation": self.conversation,
            "background": self.background,
        }
        if asked := [name for name, value in state.items() if value]:
            raise RequestError(
                f"nothing is kept between requests, so there is no {', '.join(asked)}",
                hint="send the whole conversation as input, and wait for its answer",
            )

    def _refuse_unbuilt(self) -> None:
        if self.text.format.type != "text":
            raise RequestError(f"this server cannot do text.format {self.text.format.type}")
        if self.tools:
            raise RequestError("this server cannot do tools")


@routes.post("/responses", response_model=None)
async def responses(body: ResponsesBody, request: Request) -> Response:
    """Answer an input, as a whole or as a stream."""
    answer = Answer(body)
    wanted = body.to_request(request)
    if body.stream:
        return await exchange.streamed(request, wanted, answer.events)
    return await exchange.whole(request, wanted, answer.whole)


class Answer:
    """One response: how it looks at each moment, and the events that build it."""

    def __init__(self, body: ResponsesBody) -> None:
        """Begin the response to a request."""
        self._asked = body.model or "auto"
        self._message_id = f"msg_{uuid.uuid4().hex}"
        self._shared: dict[str, Fact] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "background": False,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "metadata": {},
            **body.repeated(),
        }

    def whole(self, reply: Reply) -> dict[str, Fact]:
        """Return it with its answer."""
        why: Fact = {"reason": "max_output_tokens"} if reply.finish == "length" else None
        return self._object(
            "completed" if why is None else "incomplete",
            reply.model,
            incomplete_details=why,
            output=[self._message("completed", [_part(reply.text)])],
            usage=_usage(reply),
        )

    async def events(self, answering: Answering) -> AsyncIterator[str]:
        """Yield the events in their order; comments while there is nothing to tell."""
        event = _Events(self._message_id)
        begun = self._object("in_progress", self._asked)
        yield event.of("response.created", response=begun)
        yield event.of("response.in_progress", response=begun)
        yield event.of_item("response.output_item.added", item=self._message("in_progress", []))
        yield event.of_part("response.content_part.added", part=_part(""))
        try:
            async for text in answering.texts():
                if isinstance(text, SignOfLife):
                    yield sse.comment(text.said)
                else:
                    yield event.of_part("response.output_text.delta", delta=text, logprobs=[])
        except ModelRouterError as error:
            yield event.of("response.failed", response=self._failed(error))
            return
        reply = answering.reply
        assert reply is not None
        whole = self.whole(reply)
        message = self._message("completed", [_part(reply.text)])
        yield event.of_part("response.output_text.done", text=reply.text, logprobs=[])
        yield event.of_part("response.content_part.done", part=_part(reply.text))
        yield event.of_item("response.output_item.done", item=message)
        yield event.of(f"response.{whole['status']}", response=whole)

    def _object(self, status: str, model: str, **known: Fact) -> dict[str, Fact]:
        """Return the response's object with what is `known` of it by now."""
        unknown: dict[str, Fact] = {
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        return {**self._shared, "status": status, "model": model, **unknown, **known}

    def _failed(self, error: ModelRouterError) -> dict[str, Fact]:
        failure = failure_of(error)
        told: Fact = {"code": failure.code, "message": failure.message}
        return self._object("failed", self._asked, error=told)

    def _message(self, status: str, content: list[Fact]) -> dict[str, Fact]:
        return {
            "id": self._message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }


class _Events:
    """What all events of one response share: a number each, and the item that they are about."""

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._numbers = itertools.count()

    def of(self, kind: str, **fields: Fact) -> str:
        return sse.event({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def of_item(self, kind: str, **fields: Fact) -> str:
        return self.of(kind, output_index=0, **fields)

    def of_part(self, kind: str, **fields: Fact) -> str:
        return self.of_item(kind, item_id=self._message_id, content_index=0, **fields)


def _part(text: str) -> dict[str, Fact]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(reply: Reply) -> dict[str, Fact]:
    usage = reply.usage
    assert usage is not None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
