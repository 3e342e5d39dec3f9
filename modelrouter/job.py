"""A job: a request made ready for one model, with its prompt, its ends and its place in the cache.

It knows one candidate and no other, and runs nothing.
"""

import dataclasses
from dataclasses import dataclass

from modelrouter.cache import answer_key
from modelrouter.chat import Prepared, prepare
from modelrouter.config import NO_FIM
from modelrouter.engine.fim import render_hole
from modelrouter.engine.prompt import refuse_hopeless
from modelrouter.errors import BadModelFile, NotOffered
from modelrouter.generation import Generation, Piece
from modelrouter.registry import ModelSpec
from modelrouter.types import CacheUse, Candidate, Hole, Request, WithoutFim


@dataclass(frozen=True, slots=True)
class Job:
    """The request made ready for one candidate.

    `key` None: its answer is this caller's alone, another time there may be another. `cache_use` is
    how the cache was used where the answer was not in it. `fim` is the family in whose layout the
    request's hole is shown; None where it has none. `ready` says how the answer is read.
    """

    candidate: Candidate
    generation: Generation
    ready: Prepared
    key: str | None
    cache_use: CacheUse
    fim: str | None


def make_job(
    request: Request,
    candidate: Candidate,
    spec: ModelSpec,
    *,
    grammar: str | None,
    without_fim: WithoutFim,
    has_cache: bool,
) -> Job:
    """Return the job; RequestError or BadModelFile where this model cannot be asked so.

    `grammar` is the request's form, compiled.
    """
    sampling = dataclasses.replace(spec.sampling, **request.sampling)
    ready, fim = _prompt(request, spec, grammar, without_fim)
    stop, end_ids = _ends(request, spec)
    generation = Generation(
        ready.pieces,
        sampling,
        request.max_tokens,
        stop,
        request.logprobs,
        end_ids=end_ids,
        indent=request.indent,
        prompt_seconds=request.prompt_seconds,
        answer_seconds=request.answer_seconds,
        grammar=ready.grammar,
        spelled=ready.spelled,
    )
    is_shared = request.use_cache and sampling.is_repeatable and not request.is_warm_up
    key = answer_key(spec.identity, _untimed(generation)) if is_shared else None
    cache_use: CacheUse = "miss" if has_cache and key is not None else "bypass"
    return Job(candidate, generation, ready, key, cache_use, fim)


def _untimed(generation: Generation) -> Generation:
    """Return what shapes an answer that was given all its time: no other one is kept, and that one
    is for every caller, however little time another has.
    """
    return dataclasses.replace(generation, prompt_seconds=None, answer_seconds=None)


def _ends(request: Request, spec: ModelSpec) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the stop strings, and the tokens, that end the answer beside the model's own."""
    if request.hole is None or spec.fim is None:
        return request.stop, ()
    further = tuple(text for text in spec.fim.family.stops if text not in request.stop)
    return request.stop + further, spec.fim.end_ids


def _prompt(
    request: Request, spec: ModelSpec, grammar: str | None, without_fim: WithoutFim
) -> tuple[Prepared, str | None]:
    """Return the request made ready, and for a hole the family that it is laid out by."""
    if request.hole is not None:
        pieces, family = _hole_prompt(request.hole, request.max_tokens, spec, without_fim)
        return Prepared(pieces, grammar), family
    try:
        ready = prepare(request, spec.chat, grammar)
        refuse_hopeless(ready.pieces, spec)
    except BadModelFile as error:
        raise BadModelFile(f"{spec.name}: {error.message}", hint=error.hint) from error
    return ready, None


def _hole_prompt(
    hole: Hole, max_tokens: int | None, spec: ModelSpec, without_fim: WithoutFim
) -> tuple[tuple[Piece, ...], str]:
    if spec.fim is None and without_fim == "refuse":
        raise NotOffered(
            f"Infill is not supported by this model: {spec.name} has no fill-in-the-middle tokens",
            hint='name a model that has, or set `without_fim = "continue"` in the policy',
        )
    family = None if spec.fim is None else spec.fim.family
    pieces = render_hole(hole, family, spec.context_tokens, max_tokens)
    return pieces, NO_FIM if family is None else family.name
