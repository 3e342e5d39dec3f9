"""Anthropic's dialect: `/v1/messages`, whole and as named events, and its count of tokens.

Field names and shapes are those of Anthropic's Messages API. Known wishes that this server cannot
fulfil are refused; fields it does not know are passed over.
"""

import re
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
from modelrouter.server.content import not_text
from modelrouter.server.errors import anthropic_body, error_body
from modelrouter.server.headers import from_headers
from modelrouter.server.sampling import SamplingFields
from modelrouter.trace import Fact

routes = APIRouter(prefix="/v1/messages")

BILLING_LINE = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?")
"""Claude Code's first words of the system prompt. They differ in every request and say nothing to a
model; left in, no prompt would begin like the one before, and all of it be read anew each time."""

THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Blocks of earlier answers that a model is not shown again."""


class Block(Body):
    """A block of a message's content."""

    type: str
    text: str = ""


class Turn(Body):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | tuple[Block, ...]

    def to_message(self) -> types.Message:
        """Return the turn in our words."""
        return types.Message(self.role, _text_of(self.content))


class Conversation(SamplingFields):
    """What is asked: the body of a count, and the most of that of a message."""

    model: str = ""
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    system: str | tuple[Block, ...] = ""
    tools: tuple[Any, ...] = ()

    def to_messages(self) -> tuple[types.Message, ...]:
        """Return the conversation in our words; RequestError for what this server cannot do."""
        if self.tools:
            raise RequestError("this server cannot do tools")
        if self.messages[-1].role == "assistant":
            raise RequestError(
                "the last message is the assistant's; no model here goes on with a begun answer",
                hint="end with a message of the user's",
            )
        system = BILLING_LINE.sub("", _text_of(self.system))
        first = (types.Message("system", system),) if system else ()
        return (*first, *(turn.to_message() for turn in self.messages))


class MessageBody(Conversation):
    """The body of `/v1/messages`."""

    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    stream: bool = False

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        return types.Request(
            messages=self.to_messages(),
            model=self.model or None,
            max_tokens=self.max_tokens,
            stop=self.stop_sequences,
            sampling=self.overrides(),
            **from_headers(request.headers),
        )


@routes.post("", response_model=None)
async def messages(body: MessageBody, request: Request) -> Response:
    """Answer a conversation, as a whole or as a stream."""
    wanted = body.to_request(request)
    if body.stream:
        return await exchange.streamed(request, wanted, _events)
    return await exchange.whole(request, wanted, _message)


@routes.post("/count_tokens", response_model=None)
async def count_tokens(body: Conversation) -> dict[str, Fact]:
    """Say about how many tokens the conversation has: its bytes, four to a token.

    Only the model that will answer counts exactly, and to load one may take minutes.
    """
    return {"input_tokens": types.Request(messages=body.to_messages()).prompt_tokens}


def _text_of(content: str | tuple[Block, ...]) -> str:
    if isinstance(content, str):
        return content
    blocks = [block for block in content if block.type not in THOUGHTS]
    if (other := next((b.type for b in blocks if b.type != "text"), None)) is not None:
        raise not_text(other)
    return "\n".join(block.text for block in blocks)


def _message(reply: Reply) -> dict[str, Fact]:
    return {
        **_head(reply),
        "content": [{"type": "text", "text": reply.text}],
        **_stop(reply),
        "usage": _usage(reply),
    }


def _head(reply: Reply) -> dict[str, Fact]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
    }


def _stop(reply: Reply) -> dict[str, Fact]:
    reason = "max_tokens" if reply.finish == "length" else "end_turn"
    if reply.stopped_by is not None:
        reason = "stop_sequence"
    return {"stop_reason": reason, "stop_sequence": reply.stopped_by}


def _usage(reply: Reply) -> dict[str, Fact]:
    """Return the counts; until the prompt is read there is only a guess, as in a stream's start."""
    guess = types.Usage(reply.route.request.prompt_tokens, 0, 0)
    usage = guess if reply.usage is None else reply.usage
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


async def _events(answering: Answering) -> AsyncIterator[str]:
    """Yield the answer's events; nothing but pings until it is known who answers."""
    has_begun = False
    try:
        async for text in answering.texts():
            if isinstance(text, SignOfLife):
                yield _event("ping")
                continue
            if not has_begun:
                yield _start(answering)
                has_begun = True
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
    except ModelRouterError as error:
        yield sse.event(error_body(error, anthropic_body), "error")
        return
    if not has_begun:
        yield _start(answering)
    reply = answering.reply
    assert reply is not None
    yield _event("content_block_stop", index=0)
    yield _event("message_delta", delta=_stop(reply), usage=_usage(reply))
    yield _event("message_stop")


def _start(answering: Answering) -> str:
    """Return the events before the first text."""
    reply = answering.reply
    assert reply is not None
    message: Fact = {
        **_head(reply),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(reply),
    }
    begin = _event("message_start", message=message)
    return begin + _event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )


def _event(kind: str, **fields: Fact) -> str:
    return sse.event({"type": kind, **fields}, kind)
