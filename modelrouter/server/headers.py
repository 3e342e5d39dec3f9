"""Headers: what the policy may see of a request's, and how an answer's tell what was decided.

It knows no dialect: every one of them reads and writes its headers here.
"""

import re
from collections.abc import Mapping
from typing import TypedDict
from urllib.parse import quote

from modelrouter.errors import RequestError
from modelrouter.reply import Reply
from modelrouter.trace import Trace

TAGS_HEADER = "x-modelrouter-tags"

TIMEOUT_HEADER = "x-request-timeout"

SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)


class FromHeaders(TypedDict):
    """What of a `types.Request` the headers say, in every dialect."""

    tags: frozenset[str]
    headers: Mapping[str, str]
    seconds: float | None


def from_headers(headers: Mapping[str, str]) -> FromHeaders:
    """Return the tags, the time limit, and what the policy's rules may see."""
    return FromHeaders(
        tags=tags_in(headers), headers=public_headers(headers), seconds=seconds_in(headers)
    )


def seconds_in(headers: Mapping[str, str]) -> float | None:
    """Return the time limit that the caller sets for the whole answer; RequestError for none."""
    given = headers.get(TIMEOUT_HEADER)
    if given is not None and not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", given):
        raise RequestError(f"{TIMEOUT_HEADER} is {given[:40]!r}; it is a number of seconds")
    return None if given is None else float(given)


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
    """Return the decision as headers: every answer carries them; that of a hole the family by whose
    layout it was shown, too.
    """
    headers = {
        **path_headers(reply.trace),
        "x-modelrouter-model": reply.model,
        "x-modelrouter-role": reply.role or "",
        "x-modelrouter-cache": reply.cache_use,
    }
    return headers if reply.fim is None else {**headers, "x-modelrouter-fim": reply.fim}


def path_headers(trace: Trace) -> dict[str, str]:
    """Return what is decided so far as headers: an error carries them, and a stream that begins
    while its request still waits.

    `-queue-ms` is the time in which a slot was waited for, loads included.
    """
    headers: dict[str, str] = {}
    for step in trace.steps:
        match step.name, step.facts:
            case "classify", {"confidence": float(confidence)}:
                headers["x-modelrouter-confidence"] = f"{confidence:.4f}"
            case "decide", {"rule": str(rule)}:
                headers["x-modelrouter-rule"] = quote(rule, safe=" ")
            case "lease" | "refused" | "cache hit", {"model": str(model)}:
                headers["x-modelrouter-model"] = model
                headers["x-modelrouter-queue-ms"] = f"{waited_ms(trace):.1f}"
    return headers


def waited_ms(trace: Trace) -> float:
    """Return how long the request has waited for slots, loads included."""
    waits = (step.facts.get("waited_ms") for step in trace.steps)
    return sum(wait for wait in waits if isinstance(wait, float))


def answers_given(asked: int | None) -> dict[str, str]:
    """Say that there is one answer where more were asked for: each would cost as much again."""
    return {"x-modelrouter-n": "1"} if (asked or 1) > 1 else {}
