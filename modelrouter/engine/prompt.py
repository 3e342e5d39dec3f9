"""From a conversation to a prompt: the model's own chat template, rendered so that users stay
users.

Text a user wrote never becomes a control token: where it holds one's spelling, that stretch is
marked as plain text for the tokenizer. No tokenizer here, no model; the template comes from the
GGUF header and runs in jinja2's sandbox.
"""

import functools
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelrouter.errors import BadModelFile, PromptTooLong, RequestError
from modelrouter.registry import ChatFormat, ModelSpec
from modelrouter.types import Message, Piece, Request

FIRST_STAND_IN = 0xF0000
"""Stand-ins are private-use characters from here on (Unicode plane 15)."""

LOSSLESS_TOKENIZERS = frozenset({"gpt2", "llama"})
"""Byte-pair and SentencePiece: every byte of a text is in one of its tokens."""

CONTEXT_STEP_TOKENS = 256
"""llama.cpp rounds a context up to a multiple of this."""


def render(request: Request, chat: ChatFormat | None) -> tuple[Piece, ...]:
    """Return the request as a prompt: a chat in the model's template, a completion as it stands."""
    if request.task == "completion":
        return tuple(Piece(message.content, special=False) for message in request.messages)
    if chat is None:
        raise RequestError(
            "the model has no chat template: it continues text and was not trained to converse",
            hint="name an instruction-tuned model",
        )
    return render_chat(chat, request.messages)


def render_chat(chat: ChatFormat, messages: Sequence[Message]) -> tuple[Piece, ...]:
    """Return the conversation as the model's template wants it, ready for the answer.

    RequestError where the template refuses the conversation (some want strict turns), BadModelFile
    where the template itself is broken.
    """
    stand_ins = _choose_stand_ins(chat.control_tokens, messages)
    hide = _replacer(stand_ins)
    try:
        text = _compiled(chat.template).render(
            messages=[{"role": m.speaker, "content": hide(m.content)} for m in messages],
            add_generation_prompt=True,
            bos_token=chat.begin_text,
            eos_token=chat.end_text,
        )
    except _RefusedByTemplate as refusal:
        raise RequestError(
            f"the model's chat template refuses this conversation: {refusal}"
        ) from None
    except Exception as error:  # a template is a program from a file: it may raise anything
        raise BadModelFile(f"the model's chat template cannot be rendered: {error}") from error
    return tuple(_pieces(text, {stand_in: token for token, stand_in in stand_ins.items()}))


def refuse_hopeless(pieces: Sequence[Piece], spec: ModelSpec) -> None:
    """Raise PromptTooLong where even the longest tokens would be too many for the model's context.

    Only the model's own tokenizer knows their number, but it takes seconds for 10 MB, and its other
    answers wait meanwhile.
    """
    longest_bytes = spec.facts.longest_token_bytes
    if spec.facts.tokenizer_model not in LOSSLESS_TOKENIZERS or not longest_bytes:
        return
    n_bytes = sum(len(piece.text.encode()) for piece in pieces)
    fewest_tokens = -(-n_bytes // longest_bytes)
    if fewest_tokens >= spec.context_tokens + CONTEXT_STEP_TOKENS:
        raise PromptTooLong(
            f"the prompt has {n_bytes:,} bytes, which are {fewest_tokens:,} tokens or more; the "
            f"context of {spec.name} holds {spec.context_tokens:,}",
            hint="shorten the prompt, raise `context` in models.toml, "
            "or name a model with a larger context",
        )


class _RefusedByTemplate(Exception):
    """The template called `raise_exception`."""


def _refuse(message: str) -> NoReturn:
    raise _RefusedByTemplate(message)


@functools.lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    """Return the template in the environment that Hugging Face's chat templates are written for."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = time.strftime
    return environment.from_string(template)


def _choose_stand_ins(tokens: Iterable[str], messages: Sequence[Message]) -> dict[str, str]:
    """Return a character that no message holds for each control token that a message spells out."""
    everything = "\n".join(message.content for message in messages)
    spelled = [token for token in tokens if token and token in everything]
    unused = (
        chr(point) for point in range(FIRST_STAND_IN, 0xFFFFD) if chr(point) not in everything
    )
    return dict(zip(spelled, unused, strict=False))


def _replacer(stand_ins: dict[str, str]) -> Callable[[str], str]:
    if not stand_ins:
        return lambda text: text
    longest_first = sorted(stand_ins, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda match: stand_ins[match[0]], text)


def _pieces(text: str, spellings: dict[str, str]) -> Iterable[Piece]:
    """Cut the rendered text at the stand-ins and put back what they stand for, as plain text."""
    if not spellings:
        yield Piece(text, special=True)
        return
    for part in re.split(f"([{''.join(spellings)}])", text):
        if part:
            yield Piece(spellings.get(part, part), special=part not in spellings)
