"""Errors on the wire: one place that turns them into HTTP, in the dialect of the path.

It knows the three shapes of bodies that clients read, not who raises what.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from modelrouter.errors import (
    CapacityError,
    DeadlineExceeded,
    ModelRouterError,
    NeverFits,
    PromptTooLong,
)
from modelrouter.server import request_id
from modelrouter.server.headers import path_headers
from modelrouter.trace import Fact

Body: TypeAlias = dict[str, Fact]

OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
}
"""OpenAI's and llama.cpp's words for statuses; below 500 the rest are invalid requests."""

ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    507: "overloaded_error",
}
"""Anthropic's; below 500 the rest are invalid requests."""

RETRY_SECONDS: Mapping[int, int] = {429: 5, 503: 5, 504: 60, 507: 3600}
"""When to come back. To ask a 504 or 507 again the same way is no use: whoever does all the same
should not do it soon."""

SHOWN_WRONGS = 8
SHOWN_PLACE = 200
"""Of the places where a body is wrong so many are told, and of each so many characters."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What every dialect has to say of an error."""

    status: int
    message: str
    code: str | None
    ours: Body | None = None
    """Code, message, hint and trace of an error of ours."""


def openai_body(failure: Failure) -> Body:
    """Return the body that OpenAI's, llama.cpp's and our own routes answer an error with."""
    kind = _kind(OPENAI_TYPES, failure.status, "server_error")
    error: Fact = {
        "message": failure.message,
        "type": kind,
        "param": None,
        "code": failure.code,
    }
    return (
        {"error": error} if failure.ours is None else {"error": error, "modelrouter": failure.ours}
    )


def ollama_body(failure: Failure) -> Body:
    """Return Ollama's body: its JavaScript client shows the error only where it is a string."""
    return {"error": failure.message}


def anthropic_body(failure: Failure) -> Body:
    """Return Anthropic's body. Agents that shorten a conversation look for its words for one that
    is too long.
    """
    is_too_long = failure.code == CONTEXT_EXCEEDED
    message = f"prompt is too long: {failure.message}" if is_too_long else failure.message
    error: Fact = {"type": _kind(ANTHROPIC_TYPES, failure.status, "api_error"), "message": message}
    return {"type": "error", "error": error}


CONTEXT_EXCEEDED = "context_length_exceeded"

Shape: TypeAlias = Callable[[Failure], Body]

SHAPES: Mapping[str, Shape] = {"/api/": ollama_body, "/v1/messages": anthropic_body}
"""By the beginning of a path; all others are OpenAI's."""


def shape_of(path: str) -> Shape:
    """Return how an error of this path is told."""
    return next((shape for start, shape in SHAPES.items() if path.startswith(start)), openai_body)


def failure_of(error: ModelRouterError) -> Failure:
    """Return what there is to say of an error of ours."""
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    code = CONTEXT_EXCEEDED if isinstance(error, PromptTooLong) else error.code
    trace: Fact = None if error.trace is None else error.trace.to_json()
    ours: Body = {"code": error.code, "message": error.message, "hint": error.hint, "trace": trace}
    return Failure(error.http_status, message, code, ours)


def error_body(error: ModelRouterError, shape: Shape = openai_body) -> Body:
    """Return the error as JSON, also for one in the middle of a stream."""
    return shape(failure_of(error))


def add_error_handlers(asgi: FastAPI) -> None:
    """Answer every error of ours, of FastAPI's and of Starlette's in the dialect of the path."""

    @asgi.exception_handler(ModelRouterError)
    async def ours(request: Request, error: ModelRouterError) -> JSONResponse:
        decided = {} if error.trace is None else path_headers(error.trace)
        return _answer(request, failure_of(error), decided | _advice(error))

    @asgi.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(request, Failure(400, _all_wrong(error.errors()), "bad_request"))

    @asgi.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> JSONResponse:
        said = f"a mistake of the server's own: {type(error).__name__}"
        # It is answered outside of all middleware, also of that which names the answer.
        headers = {request_id.HEADER: request_id.request_id_of(request.scope), **_NO_RETRY}
        return _answer(request, Failure(500, said, "internal_error"), headers)

    @asgi.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return _answer(request, Failure(error.status_code, str(error.detail), None), error.headers)


_NO_RETRY = {"x-should-retry": "false"}


def _advice(error: ModelRouterError) -> dict[str, str]:
    """Return the headers that say whether to ask again, and when.

    OpenAI's and Anthropic's SDKs repeat every 429 and 5xx twice unless told not to. That is right
    only where no work was begun: a full line, no free slot. A time limit that was up, a model that
    does not fit or a worker that died would cost the same minutes once more.
    """
    seconds = RETRY_SECONDS.get(error.http_status)
    after = {} if seconds is None else {"retry-after": str(seconds)}
    may_pass = isinstance(error, CapacityError) and not isinstance(
        error, NeverFits | DeadlineExceeded
    )
    return {**after, "x-should-retry": "true"} if may_pass else {**after, **_NO_RETRY}


def _answer(
    request: Request, failure: Failure, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = shape_of(request.url.path)(failure)
    return JSONResponse(body, failure.status, dict(headers or {}))


def _kind(kinds: Mapping[int, str], status: int, otherwise: str) -> str:
    return kinds.get(status, "invalid_request_error" if status < 500 else otherwise)


def _all_wrong(wrongs: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with a body: of a nested one there may be more to say than was sent."""
    said = [_wrong(each) for each in wrongs[:SHOWN_WRONGS]]
    more = len(wrongs) - len(said)
    return "; ".join([*said, f"and {more:,} more"] if more else said)


def _wrong(wrong: Mapping[str, Any]) -> str:
    """Return what is wrong with a body in one place of it."""
    if wrong["type"] == "json_invalid":
        return f"body: {wrong['msg']} at character {wrong['loc'][-1]}: {wrong['ctx']['error']}"
    place = ".".join(str(step) for step in wrong["loc"] if step != "body") or "body"
    if len(place) > SHOWN_PLACE:
        place = f"{place[:SHOWN_PLACE]}..."
    return f"{place}: {wrong['msg']}"
