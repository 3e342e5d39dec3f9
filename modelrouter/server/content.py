"""Content in parts: what of it is text, and the refusal of what is not."""

from modelrouter.errors import RequestError


def not_text(kind: str) -> RequestError:
    """Return the refusal of an image, a sound or a file."""
    return RequestError(
        f"content of the type {kind} cannot be read: the models here take text",
        hint="send text alone",
    )
