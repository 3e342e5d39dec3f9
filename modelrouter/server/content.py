"""Content in parts: what of it is text, and the refusal of what is not."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelrouter.errors import RequestError


def text_of(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a message's content, all parts in one; RequestError for a part that has
    none.
    """
    if isinstance(content, str):
        return content
    return "".join(map(_text_of_part, content))


def _text_of_part(part: Mapping[str, Any]) -> str:
    match part:
        case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
    kind = part.get("type")
    if kind in {"text", "input_text", "output_text"} or not isinstance(kind, str):
        raise RequestError("a part of a message's content has a type, and for text a text")
    raise not_text(kind[:40])


def not_text(kind: str) -> RequestError:
    """Return the refusal of an image, a sound or a file."""
    return RequestError(
        f"content of the type {kind} cannot be read: the models here take text",
        hint="send text alone",
    )
