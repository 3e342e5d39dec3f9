"""Server-sent events as the clients in the field read them: compact JSON, keep-alives that are
comments.

Some clients look for `"content":"` without a space, and some lose what follows a `: ping` line.
"""

import json
from typing import Any

DONE = "data: [DONE]\n\n"
KEEP_ALIVE = ": keep-alive\n\n"
MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def event(content: Any) -> str:
    """Return one event with `content` as its data."""
    return f"data: {json.dumps(content, ensure_ascii=False, separators=(',', ':'))}\n\n"
