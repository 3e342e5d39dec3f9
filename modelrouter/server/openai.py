"""OpenAI's dialect: chat completions, and beside them `/v1/route`, which only decides.

Field names and shapes are those of the OpenAI API reference. Known wishes that this server cannot
fulfil are refused; fields it does not know are passed over, as the clients in the field expect.
"""

import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from modelrouter import types
from modelrouter.errors import ModelRouterError, RequestError
from modelrouter.reply import Reply
from modelrouter.server import sse
from modelrouter.server.answering import Answering, ClientGone, SignOfLife
from modelrouter.server.errors import error_body
from modelrouter.server.headers import decision_headers, public_headers, tags_in
from modelrouter.server.state import app_of
from modelrouter.tokens import Chance, TokenLogprobs, biases_of
from modelrouter.trace import Fact, Trace

routes = APIRouter(prefix="/v1")

CLIENT_CLOSED = 499
"""nginx's status for a client that left; nobody reads it but the access log."""


class TextPart(BaseModel):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn. `developer` is the newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    tool_calls: list[Any] | None = Field(default=None, max_length=0)

    def to_message(self) -> types.Message:
        """Return the turn in our words."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return types.Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(BaseModel):
    """What a stream should also carry."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The body of a chat completion."""

    model_config = ConfigDict(extra="ignore")

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    cache: bool = True
    """Ours: false asks for a fresh answer."""
    timeout: float | None = None
    """Ours: seconds for the whole answer."""
    tags: list[str] = []
    """Ours: words for the policy's rules, as the header x-modelrouter-tags has them."""

    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    grammar: str | None = None
    json_schema: Any = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] = {}

    def to_request(self, headers: Mapping[str, str]) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_unbuilt()
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        newer, older = self.max_completion_tokens, self.max_tokens
        return types.Request(
            messages=tuple(message.to_message() for message in self.messages),
            model=self.model or None,
            max_tokens=older if newer is None else newer,
            stop=tuple(stop),
            sampling=self._sampling(),
            use_cache=self.cache,
            seconds=self.timeout,
            tags=frozenset(self.tags) | tags_in(headers),
            headers=public_headers(headers),
            logprobs=self._logprobs(),
        )

    def _logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            raise RequestError("top_logprobs needs logprobs: true")
        return None

    def _sampling(self) -> types.SamplingOverrides:
        names = types.SamplingOverrides.__annotations__
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        given["logit_bias"] = biases_of(self.logit_bias)
        return types.SamplingOverrides(**given)  # type: ignore[typeddict-item, no-any-return]

    def _refuse_unbuilt(self) -> None:
        kind = (self.response_format or {}).get("type", "text")
        wishes = {
            "tools": bool(self.tools),
            "functions": bool(self.functions),
            "grammar": bool(self.grammar),
            "json_schema": bool(self.json_schema),
            f"response_format {kind}": kind != "text",
        }
        if refused := [wish for wish, is_wished in wishes.items() if is_wished]:
            raise RequestError(f"this server cannot do {', '.join(refused)}")


@routes.post("/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a chat, as a whole or as a stream."""
    answering = Answering(app_of(request), body.to_request(request.headers))
    options = body.stream_options
    try:
        if not body.stream:
            reply = await answering.whole(request.receive)
            headers = decision_headers(reply) | _answers_given(body)
            return JSONResponse(_completion(reply), headers=headers)
        await answering.begun(request.receive)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED)
    events = _stream(answering, include_usage=bool(options and options.include_usage))
    return sse.response(events, answering.headers() | _answers_given(body))


@routes.post("/route", response_model=None)
async def route(body: ChatRequest, request: Request) -> dict[str, Fact]:
    """Decide without generating: where the chat would go, and why."""
    trace = Trace()
    decided = app_of(request).router.route(body.to_request(request.headers), trace)
    return {**decided.to_json(), "elapsed_ms": round(trace.elapsed_ms(), 3)}


def _answers_given(body: ChatRequest) -> dict[str, str]:
    """Say that there is one answer where more were asked for: each would cost as much again."""
    return {} if body.n in {None, 1} else {"x-modelrouter-n": "1"}


def _usage(reply: Reply) -> Fact:
    usage = reply.usage
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _logprobs(logprobs: Sequence[TokenLogprobs]) -> Fact:
    return {
        "content": [
            {**_chance(each.drawn), "top_logprobs": [_chance(other) for other in each.top]}
            for each in logprobs
        ],
        "refusal": None,
    }


def _chance(chance: Chance) -> dict[str, Fact]:
    return {"token": chance.text, "logprob": chance.logprob, "bytes": list(chance.bytes)}


def _completion(reply: Reply) -> dict[str, Fact]:
    message: Fact = {"role": "assistant", "content": reply.text}
    choice: Fact = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(reply.logprobs) if reply.route.request.logprobs is not None else None,
        "finish_reason": reply.finish,
    }
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [choice],
        "usage": _usage(reply),
        "modelrouter": reply.to_json(),
    }


async def _stream(answering: Answering, *, include_usage: bool) -> AsyncIterator[str]:
    """Yield the answer's chunks; an error in the middle becomes an event, as clients expect."""
    chunk = _Chunks()
    try:
        yield chunk.of(answering, {"role": "assistant", "content": ""})
        async for part in answering.parts():
            if isinstance(part, SignOfLife):
                yield sse.comment(part.said)
            else:
                yield chunk.of(answering, {"content": part.text}, logprobs=part.logprobs)
    except ModelRouterError as error:
        yield sse.event(error_body(error))
        return
    reply = answering.reply
    assert reply is not None
    yield chunk.of(answering, {}, reply.finish, modelrouter=reply.to_json())
    if include_usage:
        yield chunk.usage(reply)
    yield sse.DONE


class _Chunks:
    """What all chunks of one answer share."""

    def __init__(self) -> None:
        self._shared: dict[str, Fact] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
        }

    def of(
        self,
        answering: Answering,
        delta: dict[str, Fact],
        finish: str | None = None,
        logprobs: Sequence[TokenLogprobs] = (),
        **extra: Fact,
    ) -> str:
        choice: Fact = {
            "index": 0,
            "delta": delta,
            "logprobs": _logprobs(logprobs) if logprobs else None,
            "finish_reason": finish,
        }
        model = answering.reply.model if answering.reply else "auto"
        return sse.event({**self._shared, "model": model, "choices": [choice], **extra})

    def usage(self, reply: Reply) -> str:
        return sse.event(
            {**self._shared, "model": reply.model, "choices": [], "usage": _usage(reply)}
        )
