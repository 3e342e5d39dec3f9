"""Completions as OpenAI's older route has them, with its `suffix`; as Mistral's route for filling
in has them; and as Tabby's editors ask for them.

Field names and shapes are those of the three APIs; fields not known are passed over.
"""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import AliasChoices, Field

from modelrouter import types
from modelrouter.errors import ModelRouterError
from modelrouter.reply import Reply
from modelrouter.server import exchange, sse
from modelrouter.server.answer_fields import StreamOptions
from modelrouter.server.answering import Answering, SignOfLife
from modelrouter.server.bodies import Body, JsonRoute
from modelrouter.server.completing import Completing, one_text
from modelrouter.server.errors import error_body
from modelrouter.server.openai_answer import usage
from modelrouter.tokens import TokenLogprobs, biases_of
from modelrouter.trace import Fact
from modelrouter.types import Extra, Hole

routes = APIRouter(prefix="/v1", route_class=JsonRoute)

Choice: TypeAlias = Callable[[str, Sequence[TokenLogprobs]], dict[str, Fact]]
"""A choice's text, whole or the next piece of it, as the route has it."""


class Snippet(Body):
    """A piece of another file that Tabby's editor sends along."""

    filepath: str = ""
    body: str = ""


class Segments(Body):
    """What Tabby's editors send in place of a prompt."""

    prefix: str = ""
    suffix: str = ""
    declarations: tuple[Snippet, ...] = ()
    relevant_snippets_from_changed_files: tuple[Snippet, ...] = ()
    relevant_snippets_from_recently_opened_files: tuple[Snippet, ...] = ()

    def to_hole(self) -> Hole:
        """Return the text around the cursor and the snippets, the nearest ones last."""
        snippets = (
            *self.relevant_snippets_from_recently_opened_files,
            *self.relevant_snippets_from_changed_files,
            *self.declarations,
        )
        extras = (Extra(each.filepath or None, each.body) for each in snippets)
        return Hole(self.prefix, self.suffix, tuple(extras))


class CompletionBody(Completing):
    """The body of a completion."""

    prompt: Any = None
    suffix: str = ""
    segments: Segments | None = None
    echo: bool = False
    logprobs: int | None = None
    logit_bias: Mapping[str, float] = {}
    stream_options: StreamOptions = StreamOptions()

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words; RequestError for what this server cannot do."""
        if self.segments is not None:
            return self.filling(self.segments.to_hole(), request.headers)
        return self.request(one_text(self.prompt), self.suffix, request.headers)

    def shared(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what of a `types.Request` the fields and the headers say."""
        shared = super().shared(headers)
        shared["sampling"]["logit_bias"] = biases_of(self.logit_bias)
        return {**shared, "logprobs": self.logprobs}

    @property
    def echoed(self) -> str:
        """What the answer begins with: the prompt, where that is asked for."""
        return one_text(self.prompt) if self.echo and self.segments is None else ""


class FimBody(Completing):
    """The body of Mistral's route: a prompt is always one that is to be filled in."""

    prompt: str
    suffix: str = ""
    seed: int | None = Field(default=None, validation_alias=AliasChoices("random_seed", "seed"))

    def to_request(self, request: Request) -> types.Request:
        """Return the request in our words."""
        return self.filling(Hole(self.prompt, self.suffix), request.headers)


class _Shape:
    """One answer in a route's own form, as a whole or in chunks."""

    def __init__(self, kind: str, choice: Choice, echoed: str = "") -> None:
        """Begin an answer of this `kind`, each text in the form of `choice`."""
        self._shared: dict[str, Fact] = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
        }
        self._choice = choice
        self._echoed = echoed

    def whole(self, reply: Reply) -> dict[str, Fact]:
        """Return the whole answer."""
        choice = self._choice(self._echoed + reply.text, reply.logprobs)
        return {
            **self._of(reply.model, {**choice, "finish_reason": reply.finish}),
            "usage": usage(reply),
            "modelrouter": reply.to_json(),
        }

    async def chunks(self, answering: Answering, *, with_usage: bool) -> AsyncIterator[str]:
        """Yield the answer's events; an error in the middle is one, as clients expect."""
        try:
            if self._echoed:
                yield self._event(answering, self._echoed)
            async for part in answering.parts():
                if isinstance(part, SignOfLife):
                    yield sse.comment(part.said)
                else:
                    yield self._event(answering, part.text, part.logprobs)
        except ModelRouterError as error:
            yield sse.event(error_body(error))
            return
        reply = answering.reply
        assert reply is not None
        last = self._of(reply.model, {**self._choice("", ()), "finish_reason": reply.finish})
        yield sse.event({**last, "modelrouter": reply.to_json()})
        if with_usage:
            yield sse.event({**last, "choices": [], "usage": usage(reply)})
        yield sse.DONE

    def _event(
        self, answering: Answering, text: str, logprobs: Sequence[TokenLogprobs] = ()
    ) -> str:
        model = "auto" if answering.reply is None else answering.reply.model
        choice = {**self._choice(text, logprobs), "finish_reason": None}
        return sse.event(self._of(model, choice))

    def _of(self, model: str, choice: dict[str, Fact]) -> dict[str, Fact]:
        return {**self._shared, "model": model, "choices": [{"index": 0, **choice}]}


@routes.post("/completions", response_model=None)
async def completions(body: CompletionBody, request: Request) -> Response:
    """Go on with a prompt, or fill in between it and the suffix."""
    shape = _Shape("text_completion", _text, body.echoed)
    with_usage = body.stream_options.include_usage
    return await _answer(body, body.to_request(request), shape, request, with_usage=with_usage)


@routes.post("/fim/completions", response_model=None)
async def fim_completions(body: FimBody, request: Request) -> Response:
    """Fill in between a prompt and its suffix; the answer has the form of a chat's."""
    kind, choice = (
        ("chat.completion.chunk", _delta) if body.stream else ("chat.completion", _message)
    )
    return await _answer(
        body, body.to_request(request), _Shape(kind, choice), request, with_usage=True
    )


async def _answer(
    body: Completing, wanted: types.Request, shape: _Shape, request: Request, *, with_usage: bool
) -> Response:
    if not body.stream:
        answer = await exchange.whole(request, wanted, shape.whole)
    else:
        answer = await exchange.streamed(
            request, wanted, lambda answering: shape.chunks(answering, with_usage=with_usage)
        )
    answer.headers.update(body.said())
    return answer


def _text(text: str, logprobs: Sequence[TokenLogprobs]) -> dict[str, Fact]:
    return {"text": text, "logprobs": _logprobs(logprobs) if logprobs else None}


def _message(text: str, _: Sequence[TokenLogprobs]) -> dict[str, Fact]:
    return {"message": {"role": "assistant", "content": text}}


def _delta(text: str, _: Sequence[TokenLogprobs]) -> dict[str, Fact]:
    return {"delta": {"role": "assistant", "content": text}}


def _logprobs(logprobs: Sequence[TokenLogprobs]) -> Fact:
    """Return OpenAI's older form: lists side by side, with a place in each for every token."""
    texts = [each.drawn.text for each in logprobs]
    return {
        "tokens": list(texts),
        "token_logprobs": [each.drawn.logprob for each in logprobs],
        "top_logprobs": [{one.text: one.logprob for one in each.top} for each in logprobs],
        "text_offset": list(accumulate(map(len, texts[:-1]), initial=0)),
    }
