"""OpenAI's list of models with llama.cpp's additions, and the refusal of embeddings.

Editors read the context's length and what is loaded from it; pickers show the names.
"""

from fastapi import APIRouter, Request

from modelrouter.errors import NotOffered
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.snapshot import Status
from modelrouter.server import offer
from modelrouter.server.offer import Offered
from modelrouter.server.state import app_of
from modelrouter.trace import Fact

routes = APIRouter()

TEXT: Fact = {"input_modalities": ["text"], "output_modalities": ["text"]}


@routes.get("/models", response_model=None)
@routes.get("/v1/models", response_model=None)
async def models(request: Request) -> dict[str, Fact]:
    """List what a request's `model` may say: `auto`, the roles, the usable models."""
    app = app_of(request)
    status = app.scheduler.status()
    names = offer.offered(app.catalogue)
    return {"object": "list", "data": [_listed(each, status) for each in names]}


@routes.get("/v1/models/{name:path}", response_model=None)
async def model(name: str, request: Request) -> dict[str, Fact]:
    """Say what is known of one name."""
    app = app_of(request)
    return _listed(offer.named(app.catalogue, name), app.scheduler.status())


@routes.post("/v1/embeddings", response_model=None)
async def embeddings() -> None:
    """Refuse: the models here answer."""
    raise NotOffered(
        "this server makes no embeddings", hint="run an embedding model elsewhere, such as Ollama"
    )


def _listed(offered: Offered, status: Status) -> dict[str, Fact]:
    """Return a name as clients read it. `owned_by` tells editors that `/props` knows more."""
    spec = offered.largest
    return {
        "id": offered.name,
        "object": "model",
        "created": 0,
        "owned_by": "llamacpp",
        "meta": None if spec is None else _meta(spec),
        "status": {"value": offered.loaded(status)},
        "architecture": TEXT,
    }


def _meta(spec: ModelSpec) -> dict[str, Fact]:
    """Return what a model is; `n_ctx` is what a request has of the context."""
    facts = spec.facts
    return {
        "n_ctx": spec.context_tokens,
        "n_ctx_train": facts.context_length,
        "n_params": facts.parameters,
        "size": facts.weights_bytes,
        "n_vocab": facts.vocab_size,
        "n_embd": facts.embedding_length,
    }
