"""Is it alive, and is it ready: the routes that need no key."""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from modelrouter.app import App
from modelrouter.forecast import ModelState
from modelrouter.scheduler.snapshot import Status
from modelrouter.server.state import app_of, is_stopping
from modelrouter.trace import Fact

routes = APIRouter()


@routes.get("/health")
async def health() -> dict[str, str]:
    """Say that the server answers; whether a model is loaded is not asked."""
    return {"status": "ok"}


@routes.get("/ready", response_model=None)
async def ready(request: Request) -> JSONResponse:
    """Say whether all resident models are loaded: 200; else 503, with what is missing and why."""
    if is_stopping(request):
        return JSONResponse({"status": "stopping"}, 503)
    missing: dict[str, Fact] = dict(_missing(app_of(request)))
    if missing:
        return JSONResponse({"status": "not ready", "missing": missing}, 503)
    return JSONResponse({"status": "ready"})


def _missing(app: App) -> Iterator[tuple[str, str]]:
    """Yield the resident models that are not loaded, and why not."""
    status = app.scheduler.status()
    for name, entry in app.settings.models_file.models.items():
        if entry.residency == "resident" and (reason := _reason(app, status, name)) is not None:
            yield name, reason


def _reason(app: App, status: Status, model: str) -> str | None:
    """Return why the model is not loaded, None where it is."""
    if (unusable := app.catalogue.reasons[model]) is not None:
        return unusable
    if (never := app.scheduler.never_fits(model)) is not None:
        return never.message
    place = status.of(model)
    return None if place.state is ModelState.READY else place.problem or place.doing
