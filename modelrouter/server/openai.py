"""OpenAI's dialect: chat completions, and beside them `/v1/route`, which only decides.

Field names and shapes are those of the OpenAI API reference. Known wishes that this server cannot
fulfil are refused; fields it does not know are passed over, as the clients in the field expect.
"""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from modelrouter.errors import ModelRouterError
from modelrouter.server import exchange, sse
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.errors import error_body
from modelrouter.server.headers import answers_given
from modelrouter.server.openai_answer import Chunks, completion, explained, finish_reason
from modelrouter.server.openai_request import ChatRequest
from modelrouter.server.state import app_of
from modelrouter.trace import Fact, Trace

routes = APIRouter(prefix="/v1")


@routes.post("/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Answer a chat, as a whole or as a stream."""
    wanted = body.to_request(request.headers)
    if not body.stream:
        answer = await exchange.whole(request, wanted, completion)
    else:
        include_usage = body.stream_options.include_usage
        answer = await exchange.streamed(
            request, wanted, lambda answering: _stream(answering, include_usage=include_usage)
        )
    answer.headers.update(answers_given(body.n))
    return answer


@routes.post("/route", response_model=None)
async def route(body: ChatRequest, request: Request) -> dict[str, Fact]:
    """Decide without generating: where the chat would go, and why."""
    trace = Trace()
    decided = app_of(request).router.route(body.to_request(request.headers), trace)
    return {**decided.to_json(), "elapsed_ms": round(trace.elapsed_ms(), 3)}


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
