"""Server-sent events as the clients in the field read them: compact JSON, signs of life that are
comments.

A comment says what the caller waits for: people may read it, programs pass it over. Some clients
look for `"content":"` without a space, and some lose what follows a `: ping` line.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

DONE = "data: [DONE]\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def event(content: Any, name: str | None = None) -> str:
    """Return one event with `content` as its data; some dialects name their events."""
    start = "" if name is None else f"event: {name}\n"
    return f"{start}data: {json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n\n"


def comment(text: str | None) -> str:
    """Return a comment of one line; None says only that the work goes on."""
    return f": {text or 'keep-alive'}\n\n"


def response(
    events: AsyncIterator[str], headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Return the events as a stream; they are left where the caller leaves."""
    return StreamingResponse(events, media_type=MEDIA_TYPE, headers={**HEADERS, **(headers or {})})
