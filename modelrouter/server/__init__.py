"""The HTTP surface: outside shapes in, `Request`s to the router, replies out in the caller's
dialect.

It decides nothing about models. One file a dialect; `create` puts them together.
"""

from fastapi import Depends, FastAPI

from modelrouter.app import App
from modelrouter.server import admin, health, openai
from modelrouter.server.auth import KeyCheck
from modelrouter.server.errors import add_error_handlers
from modelrouter.server.request_id import RequestIds


def create(app: App, api_key: str | None) -> FastAPI:
    """Return the ASGI application that serves `app`; without a key whoever reaches it may ask."""
    asgi = FastAPI(title="modelrouter", docs_url=None, redoc_url=None)
    asgi.state.app = app
    asgi.state.is_stopping = lambda: False  # whoever runs it knows better
    asgi.include_router(health.routes)
    for routes in (openai.routes, admin.routes):
        asgi.include_router(routes, dependencies=[Depends(KeyCheck(api_key))])
    add_error_handlers(asgi)
    asgi.add_middleware(RequestIds)
    return asgi
