"""Errors on the wire: one place that turns them into HTTP, in OpenAI's shape."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from modelrouter.errors import CapacityError, ModelRouterError, NeverFits, PromptTooLong
from modelrouter.trace import Fact

TYPES: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    429: "rate_limit_error",
}
"""OpenAI's words for statuses; the rest are server errors."""

RETRY_SECONDS = 5


def add_error_handlers(asgi: FastAPI) -> None:
    """Answer every error of ours, of FastAPI's and of Starlette's in one shape."""

    @asgi.exception_handler(ModelRouterError)
    async def ours(_request: Request, error: ModelRouterError) -> JSONResponse:
        may_retry = isinstance(error, CapacityError) and not isinstance(error, NeverFits)
        headers = {"retry-after": str(RETRY_SECONDS)} if may_retry else None
        return JSONResponse(error_body(error), http_status(error), headers)

    @asgi.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{_place(each['loc'])}: {each['msg']}" for each in error.errors())
        return JSONResponse(_body(400, said, "bad_request"), 400)

    @asgi.exception_handler(Exception)
    async def bug(_request: Request, error: Exception) -> JSONResponse:
        said = f"a mistake of the server's own: {type(error).__name__}"
        return JSONResponse(_body(500, said, "internal_error"), 500)

    @asgi.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(_body(error.status_code, str(error.detail), None), error.status_code)


def http_status(error: ModelRouterError) -> int:
    """Return the status in OpenAI's dialect, which has 400 for a prompt that is too long."""
    return 400 if isinstance(error, PromptTooLong) else error.http_status


def error_body(error: ModelRouterError) -> dict[str, Fact]:
    """Return the error as JSON: OpenAI's fields, and under `modelrouter` what ours adds to them."""
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else error.code
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    trace: Fact = None if error.trace is None else error.trace.to_json()
    body = _body(http_status(error), message, code)
    ours: Fact = {"code": error.code, "message": error.message, "hint": error.hint, "trace": trace}
    return {**body, "modelrouter": ours}


def _body(status: int, message: str, code: str | None) -> dict[str, Fact]:
    kind = TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _place(loc: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in loc if step != "body") or "body"
