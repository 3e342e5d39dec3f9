"""llama.cpp's dialect, what it only tells: a model's properties, slots, tokens and template.

No route here loads a model: editors ask for these all the time, and a large one takes minutes.
Where no name is given, or a role's, the models are tried in the order of models.toml.
"""

from fastapi import APIRouter, Request

from modelrouter import types
from modelrouter.chat import family_of
from modelrouter.config import RESERVED_NAME
from modelrouter.engine.process import Engine
from modelrouter.engine.prompt import render
from modelrouter.errors import CapacityError, RequestError
from modelrouter.forecast import ModelState
from modelrouter.registry import ModelSpec
from modelrouter.server import offer
from modelrouter.server.bodies import Body, JsonRoute
from modelrouter.server.offer import Offered
from modelrouter.server.openai_request import ChatMessage
from modelrouter.server.state import app_of
from modelrouter.trace import Fact, Trace

routes = APIRouter(route_class=JsonRoute)

BUILD = "modelrouter"


class TokenizeBody(Body):
    """The body of `/tokenize`."""

    content: str
    model: str = ""
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False


class DetokenizeBody(Body):
    """The body of `/detokenize`."""

    tokens: tuple[int, ...]
    model: str = ""


class TemplateBody(Body):
    """The body of `/apply-template`."""

    messages: tuple[ChatMessage, ...]
    model: str = ""


@routes.get("/props", response_model=None)
async def props(request: Request, model: str = "") -> dict[str, Fact]:
    """Say what a model is like, loaded or not: of several the one with the most context."""
    spec = _named(model, request).largest
    if spec is None:
        raise CapacityError(f'no model of the role "{model}" can be used')
    template = None if spec.chat is None else spec.chat.template
    return {
        "default_generation_settings": {"n_ctx": spec.context_tokens, "params": _params(spec)},
        "total_slots": spec.slots,
        "model_alias": spec.name,
        "model_path": spec.facts.path.name,
        "chat_template": template or "",
        "chat_template_caps": {
            "supports_tools": family_of(template or "") is not None,
            "supports_tool_calls": "tool_calls" in (template or ""),
        },
        "modalities": {"vision": False, "audio": False},
        "bos_token": spec.facts.bos_text or "",
        "eos_token": spec.facts.eos_text or "",
        "build_info": BUILD,
        "is_sleeping": app_of(request).scheduler.engine_of(spec.name) is None,
    }


@routes.get("/slots", response_model=None)
async def slots(request: Request, model: str = "") -> list[dict[str, Fact]]:
    """List the slots of the loaded models, and whether each is at work."""
    status = app_of(request).scheduler.status()
    places = [(spec, status.of(spec.name)) for spec in _named(model, request).specs]
    found = [
        (spec, number < place.active)
        for spec, place in places
        if place.state is ModelState.READY
        for number in range(spec.slots)
    ]
    return [
        {"id": n, "model": spec.name, "n_ctx": spec.context_tokens, "is_processing": is_at_work}
        for n, (spec, is_at_work) in enumerate(found)
    ]


@routes.post("/tokenize", response_model=None)
async def tokenize(body: TokenizeBody, request: Request) -> dict[str, Fact]:
    """Return the tokens of a text for a loaded model."""
    types.refuse_unspeakable(body.content, "content")
    spec, engine = _loaded(body.model, request)
    tokens = list(await engine.tokenize(body.content, special=body.parse_special))
    begins = spec.facts.adds_bos and tokens[:1] == [spec.facts.bos_id]
    if begins and not body.add_special:
        tokens = tokens[1:]
    if body.with_pieces:
        pieces = await engine.detokenize([token] for token in tokens)
        return {"tokens": [{"id": t, "piece": p} for t, p in zip(tokens, pieces, strict=True)]}
    return {"tokens": [*tokens]}


@routes.post("/detokenize", response_model=None)
async def detokenize(body: DetokenizeBody, request: Request) -> dict[str, Fact]:
    """Return the text of a loaded model's tokens; control tokens have none."""
    spec, engine = _loaded(body.model, request)
    if wrong := [t for t in body.tokens if not 0 <= t < spec.facts.vocab_size]:
        raise RequestError(
            f"{wrong[0]} is no token of {spec.name}, which has {spec.facts.vocab_size:,}"
        )
    (content,) = await engine.detokenize([body.tokens])
    return {"content": content}


@routes.post("/apply-template", response_model=None)
async def apply_template(body: TemplateBody, request: Request) -> dict[str, Fact]:
    """Return a conversation as the chosen model's template has it, loaded or not."""
    messages = tuple(message.to_message() for message in body.messages)
    wanted = types.Request(messages, model=body.model or None)
    app = app_of(request)
    decided = app.router.route(wanted, Trace()).decision.candidates[0]
    spec = app.catalogue.specs[decided.model]
    return {"prompt": "".join(piece.text for piece in render(wanted, spec.chat))}


def _named(model: str, request: Request) -> Offered:
    return offer.named(app_of(request).catalogue, model or RESERVED_NAME)


def _loaded(model: str, request: Request) -> tuple[ModelSpec, Engine]:
    """Return the first model of this name that is loaded; CapacityError where none is."""
    for spec in _named(model, request).specs:
        if (engine := app_of(request).scheduler.engine_of(spec.name)) is not None:
            return spec, engine
    raise CapacityError(
        f"{f'{model} is not' if model else 'no model is'} loaded, and to count tokens loads none",
        hint="ask it something first, or load it with `modelrouter models load`",
    )


def _params(spec: ModelSpec) -> dict[str, Fact]:
    sampling = spec.sampling
    return {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "seed": -1 if sampling.seed is None else sampling.seed,
        "n_predict": -1,
    }
