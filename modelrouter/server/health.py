"""Is it alive: the one route that needs no key."""

from fastapi import APIRouter

routes = APIRouter()


@routes.get("/health")
async def health() -> dict[str, str]:
    """Say that the server answers; whether a model is loaded is not asked."""
    return {"status": "ok"}
