"""The HTTP surface: outside shapes in, `Request`s to the router, replies out in the caller's
dialect.

It decides nothing about models. One file a dialect; `create` puts them together.
"""

from fastapi import Depends, FastAPI

from modelrouter.app import App
from modelrouter.server import health, openai
from modelrouter.server.auth import KeyCheck
from modelrouter.server.errors import add_error_handlers


def create(app: App, api_key: str | None) -> FastAPI:
    """Return the ASGI application that serves `app`; without a key whoever reaches it may ask."""
    asgi = FastAPI(title="modelrouter", docs_url=None, redoc_url=None)
    asgi.state.app = app
    asgi.include_router(health.routes)
    asgi.include_router(openai.routes, dependencies=[Depends(KeyCheck(api_key))])
    add_error_handlers(asgi)
    return asgi
