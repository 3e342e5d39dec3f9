"""Headers: what the policy may see of a request's, and how an answer's tell what was decided.

It knows no dialect: every one of them reads and writes its headers here.
"""

from collections.abc import Mapping
from urllib.parse import quote

from modelrouter.reply import Reply
from modelrouter.trace import Trace

TAGS_HEADER = "x-modelrouter-tags"

SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)


def tags_in(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the words between the commas of the tags' header."""
    words = (word.strip() for word in headers.get(TAGS_HEADER, "").split(","))
    return frozenset(word for word in words if word)


def public_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by lower-case name, without those that carry keys."""
    return {
        name.lower(): value for name, value in headers.items() if name.lower() not in SECRET_HEADERS
    }


def decision_headers(reply: Reply) -> dict[str, str]:
    """Return the decision as headers: every answer carries them."""
    return {
        **path_headers(reply.trace),
        "x-modelrouter-model": reply.model,
        "x-modelrouter-role": reply.role or "",
        "x-modelrouter-cache": reply.cache_use,
    }


def path_headers(trace: Trace) -> dict[str, str]:
    """Return what is decided so far as headers: an error carries them, and a stream that begins
    while its request still waits.

    `-queue-ms` is the time in which a slot was waited for, loads included.
    """
    headers: dict[str, str] = {}
    waited_ms = 0.0
    for step in trace.steps:
        match step.name, step.facts:
            case "classify", {"confidence": float(confidence)}:
                headers["x-modelrouter-confidence"] = f"{confidence:.4f}"
            case "decide", {"rule": str(rule)}:
                headers["x-modelrouter-rule"] = quote(rule, safe=" ")
            case "cache hit", _:
                headers["x-modelrouter-queue-ms"] = "0.0"
            case "lease" | "refused", {"model": str(model), "waited_ms": float(ms)}:
                waited_ms += ms
                headers["x-modelrouter-model"] = model
                headers["x-modelrouter-queue-ms"] = f"{waited_ms:.1f}"
    return headers
