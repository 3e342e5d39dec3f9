"""OpenAI's dialect: chat completions, and beside them `/v1/route`, which only decides.

Field names and shapes are those of the OpenAI API reference. Known wishes that this server cannot
fulfil are refused; fields it does not know are passed over, as the clients in the field expect.
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from modelrouter.errors import ModelRouterError
from modelrouter.server import sse
from modelrouter.server.answering import Answering, ClientGone, SignOfLife
from modelrouter.server.errors import error_body
from modelrouter.server.headers import decision_headers
from modelrouter.server.openai_answer import Chunks, completion, explained, finish_reason
from modelrouter.server.openai_request import ChatRequest
from modelrouter.server.state import app_of
from modelrouter.trace import Fact, Trace

routes = APIRouter(prefix="/v1")

CLIENT_CLOSED = 499
"""nginx's status for a client that left; nobody reads it but the access log."""


@routes.post("/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a chat, as a whole or as a stream."""
    answering = Answering(app_of(request), body.to_request(request.headers))
    options = body.stream_options
    try:
        if not body.stream:
            reply = await answering.whole(request.receive)
            headers = decision_headers(reply) | _answers_given(body)
            return JSONResponse(completion(reply), headers=headers)
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


async def _stream(answering: Answering, *, include_usage: bool) -> AsyncIterator[str]:
    """Yield the answer's chunks; an error in the middle becomes an event, as clients expect."""
    chunk = Chunks()
    try:
        yield chunk.of(answering, {"role": "assistant", "content": ""})
        async for part in answering.parts():
            if isinstance(part, SignOfLife):
                yield sse.comment(part.said)
            else:
                yield chunk.of(answering, chunk.delta(part), logprobs=part.logprobs)
    except ModelRouterError as error:
        yield sse.event(error_body(error))
        return
    reply = answering.reply
    assert reply is not None
    yield chunk.of(answering, {}, finish_reason(reply), further=explained(reply))
    if include_usage:
        yield chunk.usage(reply)
    yield sse.DONE
