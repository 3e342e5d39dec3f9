"""Ollama's dialect: `/api/generate` and `/api/chat`, whole and as JSON lines.

Field names and shapes are those of Ollama's API. What it lists is in `ollama_models.py`. Known
wishes that this server cannot fulfil are refused; fields it does not know are passed over.
"""

import itertools
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from modelrouter import types
from modelrouter.chat import Part
from modelrouter.engine.fim_prompts import hole_in
from modelrouter.errors import ModelRouterError, RequestError
from modelrouter.formats import ANY_OBJECT, AnswerFormat
from modelrouter.reply import Reply
from modelrouter.server import exchange, ndjson
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.bodies import Body, JsonRoute, Stop
from modelrouter.server.content import not_text
from modelrouter.server.errors import error_body, ollama_body
from modelrouter.server.headers import from_headers, waited_ms
from modelrouter.server.ollama_models import name_of, offered_as
from modelrouter.server.openai_request import OfferedTool
from modelrouter.server.sampling import SamplingFields
from modelrouter.server.state import app_of
from modelrouter.tools import Toolbox, ToolCall
from modelrouter.trace import Fact

routes = APIRouter(prefix="/api", route_class=JsonRoute)

Shape: TypeAlias = Callable[[Part], dict[str, Fact]]
"""A piece of an answer as the route has it."""


class Options(SamplingFields):
    """The options of a request; those that a model is loaded with are models.toml's matter."""

    num_predict: int | None = None
    stop: Stop = ()

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of the answer: -1 and -2 ask for as many as there is room for."""
        return None if (self.num_predict or 0) < 0 else self.num_predict


class Asked(Body):
    """What the bodies of both routes have. `model` "", `auto` and none at all are routed."""

    model: str = ""
    stream: bool | None = None
    options: Options = Options()
    keep_alive: str | float | None = None
    format: Any = None

    @property
    def is_streamed(self) -> bool:
        """True unless the caller wants the answer whole."""
        return self.stream is not False

    def answer_format(self) -> AnswerFormat | None:
        """Return what the answer is held to: "json", or a JSON schema."""
        if not self.format:
            return None
        return ANY_OBJECT if self.format == "json" else AnswerFormat.of_schema(self.format)


class GenerateBody(Asked):
    """The body of `/api/generate`."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    raw: bool = False
    images: tuple[Any, ...] = ()
    context: tuple[int, ...] = ()

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        self._refuse_unbuilt()
        catalogue = app_of(request).catalogue
        model = name_of(self.model, catalogue)
        is_base = all(spec.chat is None for spec in offered_as(model, catalogue).specs)
        is_completion = self.raw or (is_base and not self.system)
        hole = types.Hole(self.prompt, self.suffix) if self.suffix else None
        if self.raw and hole is None:
            hole = hole_in(self.prompt)
        if hole is not None:
            return types.Request(
                hole=hole, task="completion", **_shared(self, model, request.headers)
            )
        system = (types.Message("system", self.system),) if self.system else ()
        return types.Request(
            messages=(*system, types.Message("user", self.prompt)),
            task="completion" if is_completion else "chat",
            **_shared(self, model, request.headers),
        )

    def _refuse_unbuilt(self) -> None:
        if self.images:
            raise not_text("image")
        if self.template:
            raise RequestError(
                "a template of the caller's own cannot be rendered here",
                hint="send a prompt that is rendered already, with raw = true",
            )
        if self.context:
            raise RequestError(
                "no conversation is kept between requests, so context means nothing here",
                hint="send the whole conversation to /api/chat",
            )
        if self.raw and self.system:
            raise RequestError("a raw prompt has no place for system")


class Function(Body):
    """A function that is called; here its arguments are an object."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class CalledTool(Body):
    """A call that the model has asked for before. Older clients give it no id."""

    id: str = ""
    function: Function


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: tuple[Any, ...] = ()
    tool_calls: tuple[CalledTool, ...] = ()
    tool_call_id: str = ""


class ChatBody(Asked):
    """The body of `/api/chat`."""

    messages: tuple[ChatMessage, ...] = ()
    tools: tuple[OfferedTool, ...] = ()

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        return types.Request(
            messages=tuple(_turns(self.messages)),
            toolbox=Toolbox(tuple(tool.to_tool() for tool in self.tools)),
            **_shared(self, name_of(self.model, app_of(request).catalogue), request.headers),
        )


def _turns(messages: Iterable[ChatMessage]) -> Iterator[types.Message]:
    """Yield the turns in our words. Calls without an id are numbered, and the tools' answers that
    name none belong to them in their order.
    """
    numbers = itertools.count(1)
    unanswered: deque[str] = deque()
    for message in messages:
        if message.images:
            raise not_text("image")
        calls = tuple(_call(each, next(numbers)) for each in message.tool_calls)
        unanswered += (call.id for call in calls)
        if message.role != "tool":
            yield types.Message(message.role, message.content, calls)
            continue
        if message.tool_call_id in unanswered:
            unanswered.remove(message.tool_call_id)
            answered = message.tool_call_id
        elif unanswered:
            answered = unanswered.popleft()
        else:
            raise RequestError("a message of the role tool answers no call before it")
        yield types.Message("tool", message.content, tool_call_id=answered)


def _call(called: CalledTool, number: int) -> ToolCall:
    arguments = json.dumps(called.function.arguments, ensure_ascii=False)
    return ToolCall(called.id or f"call{number:05}", called.function.name, arguments)


def _shared(body: Asked, model: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": body.options.max_tokens,
        "stop": body.options.stop,
        "sampling": body.options.overrides(),
        "answer_format": body.answer_format(),
        **from_headers(headers),
    }


@routes.post("/generate", response_model=None)
async def generate(body: GenerateBody, request: Request) -> Response:
    """Answer a prompt. One without a prompt loads the model, or with keep_alive 0 unloads it."""
    if not (body.prompt or body.suffix):
        return await _hold(body, _response, request)
    return await _answer(body, body.to_request(request), _response, request)


@routes.post("/chat", response_model=None)
async def chat(body: ChatBody, request: Request) -> Response:
    """Answer a conversation. One without messages loads the model, or unloads it."""
    if not body.messages:
        return await _hold(body, _message, request)
    return await _answer(body, body.to_request(request), _message, request)


def _response(part: Part) -> dict[str, Fact]:
    return {"response": part.text, **_thinking(part)}


def _message(part: Part) -> dict[str, Fact]:
    message: dict[str, Fact] = {"role": "assistant", "content": part.text, **_thinking(part)}
    if part.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in part.calls
        ]
    return {"message": message}


def _thinking(part: Part) -> dict[str, Fact]:
    return {"thinking": part.reasoning} if part.reasoning else {}


async def _answer(body: Asked, wanted: types.Request, shape: Shape, request: Request) -> Response:
    if not body.is_streamed:
        return await exchange.whole(request, wanted, lambda reply: _whole(reply, shape))
    return await exchange.streamed(
        request,
        wanted,
        lambda answering: _lines(answering, wanted.model or "", shape),
        ndjson.response,
    )


def _whole(reply: Reply, shape: Shape) -> dict[str, Fact]:
    everything = Part(reply.text, reply.reasoning, tuple(reply.tool_calls))
    return _line(reply.model, shape(everything), **_end(reply))


async def _lines(answering: Answering, asked: str, shape: Shape) -> AsyncIterator[str]:
    """Yield the answer's lines; a sign of life is a line without text, and so is the last.

    Until it is known who answers, `model` is the name that was `asked` for.
    """
    try:
        async for part in answering.parts():
            model = asked if answering.reply is None else answering.reply.model
            shown = Part() if isinstance(part, SignOfLife) else part
            yield ndjson.line(_line(model, shape(shown), done=False))
    except ModelRouterError as error:
        yield ndjson.line(error_body(error, ollama_body))
        return
    reply = answering.reply
    assert reply is not None
    yield ndjson.line(_line(reply.model, shape(Part()), **_end(reply)))


def _line(model: str, part: dict[str, Fact], **rest: Fact) -> dict[str, Fact]:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"model": model, "created_at": now, **part, **rest}


def _end(reply: Reply) -> dict[str, Fact]:
    """Return what the last line says beside its text; times are nanoseconds."""
    usage, timings = reply.usage, reply.timings
    assert usage is not None
    return {
        "done": True,
        "done_reason": reply.finish,
        "total_duration": round(reply.trace.elapsed_ms() * 1e6),
        "load_duration": round(waited_ms(reply.trace) * 1e6),
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": round(timings.prefill_seconds * 1e9),
        "eval_count": usage.completion_tokens,
        "eval_duration": round(timings.decode_seconds * 1e9),
    }


async def _hold(body: Asked, shape: Shape, request: Request) -> Response:
    """Load the model that the body names, or unload it; whom `auto` means shows only a prompt.

    Of a role it is the first model. Other values of keep_alive change nothing: what stays loaded
    is the scheduler's matter.
    """
    app = app_of(request)
    model = name_of(body.model, app.catalogue)
    is_unload = _is_zero(body.keep_alive)
    if model != "auto" and (specs := offered_as(model, app.catalogue).specs):
        work = app.scheduler.unload if is_unload else app.scheduler.load
        await work(specs[0].name)
    reason = "unload" if is_unload else "load"
    return JSONResponse(_line(model, shape(Part()), done=True, done_reason=reason))


def _is_zero(keep_alive: str | float | None) -> bool:
    return keep_alive is not None and bool(re.fullmatch(r"0+(\.0+)?[a-z]*", str(keep_alive)))
