"""The HTTP surface: outside shapes in, `Request`s to the router, replies out in the caller's
dialect.

It decides nothing about models. One file a dialect; `create` puts them together.
"""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware

from modelrouter.app import App
from modelrouter.server import (
    admin,
    anthropic,
    completions,
    health,
    llamacpp,
    llamacpp_facts,
    models,
    ollama,
    ollama_models,
    openai,
    responses,
)
from modelrouter.server.errors import add_error_handlers
from modelrouter.server.gate import Door, Gate
from modelrouter.server.request_id import RequestIds


def create(app: App, door: Door) -> FastAPI:
    """Return the ASGI application that serves `app` to those who come in by the door."""
    asgi = FastAPI(title="modelrouter", docs_url=None, redoc_url=None)
    asgi.state.app = app
    asgi.state.is_stopping = lambda: False  # whoever runs it knows better
    openais = (openai, responses, completions, models)
    others = (llamacpp, llamacpp_facts, anthropic, ollama, ollama_models)
    for part in (health, *openais, *others, admin):
        asgi.include_router(part.routes)
    add_error_handlers(asgi)
    _add_middleware(asgi, door)
    asgi.add_middleware(RequestIds)
    return asgi


def _add_middleware(asgi: FastAPI, door: Door) -> None:
    """Put the gate before the routes, and before it what turns its refusals into answers.

    The one added last comes first.
    """
    handlers = {kind: say for kind, say in asgi.exception_handlers.items() if kind is not Exception}
    asgi.add_middleware(Gate, door=door)
    asgi.add_middleware(ExceptionMiddleware, handlers=handlers)
    if door.origins:
        asgi.add_middleware(
            CORSMiddleware,
            allow_origins=door.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["*"],
        )
