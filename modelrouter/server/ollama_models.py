"""Ollama's dialect, what it lists: version, models, the loaded ones; and what is not offered.

Names are models.toml's, `auto` and the roles. `name:latest` is taken for `name`.
"""

from datetime import UTC, datetime
from hashlib import sha256

from fastapi import APIRouter, Request
from fastapi.exceptions import HTTPException
from fastapi.responses import PlainTextResponse

from modelrouter.chat import family_of
from modelrouter.config import RESERVED_NAME
from modelrouter.errors import NotOffered, UnknownModel, did_you_mean, unusable
from modelrouter.forecast import ModelState
from modelrouter.registry import Catalogue, ModelSpec
from modelrouter.server import offer
from modelrouter.server.bodies import Body, JsonRoute
from modelrouter.server.offer import Offered
from modelrouter.server.state import app_of
from modelrouter.trace import Fact

routes = APIRouter(route_class=JsonRoute)

VERSION = "0.12.6"
"""The version of Ollama whose API is spoken; some clients refuse one below 0.6.4."""

FOR_EVER = "9999-12-31T23:59:59Z"
"""When a model expires that leaves only where its memory is needed."""

LATEST = ":latest"

INSERT_TEMPLATE = "{{ if .Suffix }}{{ .Prompt }}{{ .Suffix }}{{ else }}{{ .Prompt }}{{ end }}"
"""Clients look for `.Suffix` to see whether `suffix` may be sent. Nothing here renders it."""

CHANGES = frozenset({"pull", "push", "create", "copy", "delete"})
EMBEDDINGS = frozenset({"embed", "embeddings"})


class ShowBody(Body):
    """The body of `/api/show`; older clients say `name`."""

    model: str = ""
    name: str = ""


@routes.api_route("/", methods=["GET", "HEAD"], response_class=PlainTextResponse)
async def is_running() -> str:
    """Say what Ollama's clients look for."""
    return "Ollama is running"


@routes.get("/api/version")
async def version() -> dict[str, str]:
    """Say which version of the API is spoken."""
    return {"version": VERSION}


@routes.get("/api/tags", response_model=None)
async def tags(request: Request) -> dict[str, Fact]:
    """List what a request's `model` may say."""
    names = offer.offered(app_of(request).catalogue)
    return {"models": [_listed(each) for each in names]}


@routes.post("/api/show", response_model=None)
async def show(body: ShowBody, request: Request) -> dict[str, Fact]:
    """Say what is known of one name: of several models, what is known of the largest."""
    catalogue = app_of(request).catalogue
    offered = offered_as(name_of(body.model or body.name, catalogue), catalogue)
    spec = offered.largest
    can_insert = any(spec.fim for spec in offered.specs)
    can_call = any(spec.chat and family_of(spec.chat.template) for spec in offered.specs)
    return {
        "modelfile": f"FROM {offered.name}",
        "parameters": "" if spec is None else f"num_ctx {spec.context_tokens}",
        "template": INSERT_TEMPLATE if can_insert else "{{ .Prompt }}",
        "details": _details(spec),
        "model_info": {} if spec is None else _model_info(spec),
        "capabilities": [
            "completion",
            *(["insert"] if can_insert else []),
            *(["tools"] if can_call else []),
        ],
        "modified_at": _modified_at(spec),
    }


@routes.get("/api/ps", response_model=None)
async def ps(request: Request) -> dict[str, Fact]:
    """List the loaded models."""
    app = app_of(request)
    loaded: list[Fact] = []
    for status in app.scheduler.status().models:
        if status.state is ModelState.READY:
            spec = app.catalogue.specs[status.model]
            place: dict[str, Fact] = {
                "size": status.footprint_bytes,
                "size_vram": 0,
                "expires_at": FOR_EVER,
                "context_length": spec.context_tokens,
            }
            loaded.append({**_listed(Offered(status.model, (spec,))), **place})
    return {"models": loaded}


@routes.api_route("/api/{what}", methods=["POST", "DELETE"], response_model=None)
async def not_offered(what: str) -> None:
    """Refuse what Ollama has and this server has not."""
    if what in EMBEDDINGS:
        raise NotOffered("this server makes no embeddings")
    if what not in CHANGES:
        raise HTTPException(404)
    raise NotOffered(
        f"models are not changed over HTTP: there is no {what}",
        hint="models.toml lists them; its operator edits that",
    )


def name_of(asked: str, catalogue: Catalogue) -> str:
    """Return the name that is meant; UnknownModel, in Ollama's words, for one that is not there."""
    known = [*catalogue.reasons, *catalogue.roles, RESERVED_NAME]
    for name in (asked or RESERVED_NAME, asked.removesuffix(LATEST)):
        if name in known:
            return name
    raise UnknownModel(
        f"model '{asked}' not found; there are {', '.join(known)}", hint=did_you_mean(asked, known)
    )


def offered_as(name: str, catalogue: Catalogue) -> Offered:
    """Return what stands behind a known name; NoModel where that cannot be used."""
    if (found := offer.find(catalogue, name)) is None:
        raise unusable(name, catalogue.reasons[name] or "")
    return found


def _listed(offered: Offered) -> dict[str, Fact]:
    spec = offered.largest
    is_model = spec is not None and offered.is_model
    return {
        "name": offered.name,
        "model": offered.name,
        "modified_at": _modified_at(spec),
        "size": sum(file.n_bytes for file in spec.facts.files) if spec and is_model else 0,
        "digest": spec.facts.fingerprint * 2 if spec and is_model else _digest(offered.name),
        "details": _details(spec),
    }


def _digest(name: str) -> str:
    """Return 64 hex digits for a name that is no file's: clients cut them without looking."""
    return sha256(name.encode()).hexdigest()


def _details(spec: ModelSpec | None) -> dict[str, Fact]:
    if spec is None:
        return {"format": "gguf", "family": "", "families": []}
    return {
        "parent_model": "",
        "format": "gguf",
        "family": spec.facts.architecture,
        "families": [spec.facts.architecture],
        "parameter_size": _short(spec.facts.parameters),
        "quantization_level": spec.facts.file_type,
    }


def _model_info(spec: ModelSpec) -> dict[str, Fact]:
    """Return the header's keys that clients read; the context is what a request has of it."""
    facts = spec.facts
    return {
        "general.architecture": facts.architecture,
        "general.basename": facts.name or spec.name,
        "general.parameter_count": facts.parameters,
        f"{facts.architecture}.context_length": spec.context_tokens,
        f"{facts.architecture}.embedding_length": facts.embedding_length,
        f"{facts.architecture}.block_count": facts.layers,
    }


def _modified_at(spec: ModelSpec | None) -> str:
    seconds = spec.facts.path.stat().st_mtime if spec and spec.facts.path.exists() else 0
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _short(count: int) -> str:
    """Return a number of weights as people say it: 134.5M, 65.3B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return str(count)
