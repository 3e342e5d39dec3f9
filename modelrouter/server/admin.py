"""The operator's routes: who has what of the memory, and models loaded and unloaded by hand.

It decides nothing: the scheduler does, and says when it is done. With `?stream=true` a route
answers in events while it goes on; without, once.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from modelrouter.errors import CapacityError, ModelRouterError, unusable
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.scheduler.snapshot import ModelStatus, Status
from modelrouter.server import sse
from modelrouter.server.errors import error_body
from modelrouter.server.state import app_of, is_stopping

routes = APIRouter(prefix="/admin")

TICK_SECONDS = 1.0
"""How long a stream may be silent, and a request blind to the server's end."""


@routes.get("/status", response_model=None)
async def status(request: Request, *, stream: bool = False) -> Response:
    """Say who has what of the budget; as a stream, again with each change."""
    if stream:
        return sse.response(_changes(request))
    return JSONResponse(app_of(request).scheduler.status().to_json())


@routes.post("/models/{name:path}/load", response_model=None)
async def load(name: str, request: Request, *, stream: bool = False) -> Response:
    """Load the model, wait until it is there, and return its place in the status."""
    _refuse_unusable(name, request)
    work = app_of(request).scheduler.load(name)
    return await _end_of(work, name, request, stream=stream)


@routes.post("/models/{name:path}/unload", response_model=None)
async def unload(name: str, request: Request, *, stream: bool = False) -> Response:
    """Unload the model once nobody uses it, wait until its memory is back; return its place."""
    _refuse_unusable(name, request)
    work = app_of(request).scheduler.unload(name)
    return await _end_of(work, name, request, stream=stream)


def _refuse_unusable(name: str, request: Request) -> None:
    """Raise NoModel for a model of models.toml whose file is not one; the scheduler has no such."""
    reason = app_of(request).catalogue.reasons.get(name)
    if reason is not None:
        raise unusable(name, reason)


async def _changes(request: Request) -> AsyncIterator[str]:
    """Yield the status, and each that differs from the one before, until the server stops."""
    scheduler = app_of(request).scheduler
    told: Status | None = None
    while not is_stopping(request):
        if (now := scheduler.status()) != told:
            told = now
            yield sse.event(now.to_json())
        elif not await _has_news(scheduler):
            yield sse.comment(None)
    yield sse.DONE


async def _has_news(scheduler: Scheduler) -> bool:
    """Wait for news, not for longer than a tick.

    Nothing is awaited between a look at the status and this wait, or news could fall in between.
    """
    try:
        async with asyncio.timeout(TICK_SECONDS):
            await scheduler.news()
    except TimeoutError:
        return False
    return True


async def _end_of(
    work: Coroutine[None, None, None], name: str, request: Request, *, stream: bool
) -> Response:
    """Answer with the work's end; who leaves before that does not stop it.

    What fails within the first tick has a status of its own, also where a stream was asked for.
    """
    task = asyncio.create_task(work)
    # Whoever leaves early never asks how the work ended; asyncio would complain of that.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await _tick(task, request)
    if stream:
        return sse.response(_steps(task, name, request))
    while not task.done():
        await _tick(task, request)
    return JSONResponse(_place(name, request).to_json())


async def _steps(task: asyncio.Task[None], name: str, request: Request) -> AsyncIterator[str]:
    """Yield what the work waits for with each tick, at last the model's place or the error."""
    try:
        while not task.done():
            yield sse.comment(_place(name, request).doing)
            await _tick(task, request)
        yield sse.event(_place(name, request).to_json())
        yield sse.DONE
    except ModelRouterError as error:
        yield sse.event(error_body(error))


async def _tick(task: asyncio.Task[None], request: Request) -> None:
    """Wait a while for the work; raise what it failed of, and CapacityError at the server's end."""
    await asyncio.wait([task], timeout=TICK_SECONDS)
    if task.done():
        task.result()
    elif is_stopping(request):
        task.cancel()
        raise CapacityError("the server is shutting down")


def _place(name: str, request: Request) -> ModelStatus:
    return app_of(request).scheduler.status().of(name)
