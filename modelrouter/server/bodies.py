"""Bodies as lenient as the clients of some dialects need them: whatever the content type says of
them, and with `null` for what is left out.

FastAPI reads a body as JSON only where its header says so, and `curl -d` says something else.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

Stop: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
]
"""The strings that end an answer: clients send one or a list."""


class Body(BaseModel):
    """JSON fields: unknown ones are passed over, and `null` is as good as none."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, fields: Any) -> Any:
        """Return the fields that say something."""
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}


class JsonRoute(APIRoute):
    """A route that takes every body for JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the usual handler, with the header put right before it looks."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            others = [each for each in request.scope["headers"] if each[0] != b"content-type"]
            scope = {**request.scope, "headers": [*others, (b"content-type", b"application/json")]}
            return await handler(Request(scope, request.receive))

        return handle
