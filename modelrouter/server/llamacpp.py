"""llama.cpp's dialect: `/infill` and `/completion`, which editors speak. The routes that only tell
something are in `llamacpp_facts.py`.

Field names and shapes are those of llama.cpp's server; fields not known are passed over. Its events
have no `[DONE]`, and each one has `content` and a boolean `stop`. The times that a caller gives are
hard limits here: what is there by then is the answer.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from modelrouter import types
from modelrouter.errors import ModelRouterError
from modelrouter.reply import Reply
from modelrouter.server import exchange, sse
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.bodies import Body, JsonRoute
from modelrouter.server.completing import Completing, one_text
from modelrouter.server.errors import error_body
from modelrouter.server.timings import timings
from modelrouter.trace import Fact
from modelrouter.types import Extra, Hole

routes = APIRouter(route_class=JsonRoute)


class Drawn(Completing):
    """What the bodies of both routes have."""

    response_fields: tuple[str, ...] = ()


class CompletionBody(Drawn):
    """The body of `/completion`."""

    prompt: Any = None

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        return self.request(one_text(self.prompt), "", request.headers)


class InputExtra(Body):
    """A piece of another file. llama.vim names it, and says when it was seen."""

    text: str
    filename: str | None = None


class InfillBody(Drawn):
    """The body of `/infill`. `prompt` is what stands left of the cursor on its line."""

    input_prefix: str
    input_suffix: str
    input_extra: tuple[InputExtra, ...] = ()
    prompt: str = ""

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words."""
        extras = tuple(Extra(extra.filename, extra.text) for extra in self.input_extra)
        hole = Hole(self.input_prefix + self.prompt, self.input_suffix, extras)
        return self.filling(hole, request.headers)


@routes.post("/infill", response_model=None)
async def infill(body: InfillBody, request: Request) -> Response:
    """Fill in at the cursor."""
    return await _answer(body, body.to_request(request), request)


@routes.post("/completions", response_model=None)
@routes.post("/completion", response_model=None)
async def completion(body: CompletionBody, request: Request) -> Response:
    """Go on with a prompt."""
    return await _answer(body, body.to_request(request), request)


async def _answer(body: Drawn, wanted: types.Request, request: Request) -> Response:
    if not body.stream:
        answer = await exchange.whole(
            request, wanted, lambda reply: _chosen(_whole(reply, reply.text), body.response_fields)
        )
    else:
        answer = await exchange.streamed(
            request, wanted, lambda answering: _events(answering, body.response_fields)
        )
    answer.headers.update(body.said())
    return answer


async def _events(answering: Answering, fields: Sequence[str]) -> AsyncIterator[str]:
    """Yield the answer's events, the last with all that there is to tell."""
    try:
        async for part in answering.parts():
            if isinstance(part, SignOfLife):
                yield sse.comment(part.said)
            elif part.text:
                yield sse.event({"index": 0, "content": part.text, "stop": False})
    except ModelRouterError as error:
        yield sse.event(error_body(error))
        return
    reply = answering.reply
    assert reply is not None
    yield sse.event(_chosen(_whole(reply, ""), fields))


def _whole(reply: Reply, content: str) -> dict[str, Fact]:
    """Return all that llama.cpp tells of an answer, but for the prompt, which the caller has."""
    usage = reply.usage
    assert usage is not None
    request = reply.route.request
    return {
        "index": 0,
        "content": content,
        "tokens": [],
        "id_slot": 0,
        "stop": True,
        "model": reply.model,
        "tokens_predicted": usage.completion_tokens,
        "tokens_evaluated": usage.prompt_tokens,
        "generation_settings": {
            "n_predict": -1 if request.max_tokens is None else request.max_tokens,
            "stop": list(request.stop),
        },
        "has_new_line": "\n" in reply.text,
        "truncated": False,
        "stop_type": _stop_type(reply),
        "stopping_word": reply.stopped_by or "",
        "tokens_cached": usage.cached_tokens,
        "timings": timings(usage, reply.timings),
        "modelrouter": reply.to_json(),
    }


def _stop_type(reply: Reply) -> str:
    """Return why the answer ended, in llama.cpp's words."""
    if reply.stopped_by is not None:
        return "word"
    return "eos" if reply.finish == "stop" else "limit"


def _chosen(answer: dict[str, Fact], fields: Sequence[str]) -> dict[str, Fact]:
    """Return the fields that the caller wants, all where none is named.

    A path such as `timings/prompt_ms` is the key of its value; what there is not is left out.
    """
    if not fields:
        return answer
    found = {path: _at(answer, path) for path in fields}
    return {path: values[0] for path, values in found.items() if values}


def _at(answer: Mapping[str, Fact], path: str) -> list[Fact]:
    """Return the value that stands at the path, in a list that is empty where none does."""
    value: Fact = dict(answer)
    for key in path.split("/"):
        if not isinstance(value, dict) or key not in value:
            return []
        value = value[key]
    return [value]
