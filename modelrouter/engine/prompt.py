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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelrouter.errors import BadModelFile, PromptTooLong, RequestError
from modelrouter.generation import Piece
from modelrouter.memory.footprint import CELLS_STEP
from modelrouter.registry import ChatFormat, ModelSpec
from modelrouter.tools import Tool
from modelrouter.types import Message, Request

FIRST_STAND_IN = 0xF0000
"""Stand-ins are private-use characters from here on (Unicode plane 15)."""

LOSSLESS_TOKENIZERS = frozenset({"gpt2", "llama"})
"""Byte-pair and SentencePiece: every byte of a text is in one of its tokens."""


def render(request: Request, chat: ChatFormat | None) -> tuple[Piece, ...]:
    """Return the request as a prompt: a chat in the model's template, a completion as it stands."""
    if request.task == "completion":
        return tuple(Piece(message.content, special=False) for message in request.messages)
    if chat is None:
        raise RequestError(
            "the model has no chat template: it continues text and was not trained to converse",
            hint="name an instruction-tuned model",
        )
    return render_chat(chat, request.messages, request.toolbox.shown)


def render_chat(
    chat: ChatFormat, messages: Sequence[Message], tools: Sequence[Tool] = ()
) -> tuple[Piece, ...]:
    """Return the conversation as the model's template wants it, ready for the answer.

    Messages and tools have the form that Hugging Face's templates expect: OpenAI's, with a call's
    arguments as an object.

    RequestError where the template refuses the conversation (some want strict turns), BadModelFile
    where the template itself is broken.
    """
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    said: dict[str, Any] = {"messages": [_turn(message, names) for message in messages]}
    if tools:  # many templates ask whether the word is defined at all
        said["tools"] = [_offered(tool) for tool in tools]
    stand_ins = _choose_stand_ins(chat.control_tokens, "\n".join(_texts(said)))
    try:
        text = _compiled(chat.template).render(
            **_mapped(_replacer(stand_ins), said),
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


def _turn(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a message as templates read it; what it does not have is not there at all."""
    turn: dict[str, Any] = {"role": message.speaker, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _object(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
        if name := names.get(message.tool_call_id):
            turn["name"] = name
    return turn


def _object(arguments: str) -> Any:
    """Return a call's arguments as an object; text that is no JSON stays the text it is."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def _offered(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }
    return {"type": "function", "function": function}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside the value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _mapped(change: Callable[[str], str], value: Any) -> Any:
    """Return the value with every text inside it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _mapped(change, item) for key, item in value.items()}
    return [_mapped(change, item) for item in value] if isinstance(value, list) else value


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
    if fewest_tokens >= spec.context_tokens + CELLS_STEP:
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


def _choose_stand_ins(tokens: Iterable[str], everything: str) -> dict[str, str]:
    """Return a character that no text holds for each control token that a text spells out."""
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
