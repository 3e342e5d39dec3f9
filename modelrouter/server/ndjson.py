"""Streams of JSON lines, as Ollama's clients read them: one compact object a line.

A line cannot be a comment: a sign of life is an object like any other, with no text in it.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi.responses import StreamingResponse

MEDIA_TYPE = "application/x-ndjson"


def line(content: Any) -> str:
    """Return one line with `content`."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def response(
    lines: AsyncIterator[str], headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """Return the lines as a stream; they are left where the caller leaves."""
    return StreamingResponse(lines, media_type=MEDIA_TYPE, headers=headers)
