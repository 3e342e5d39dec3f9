"""Answers in the shapes of OpenAI's chat completions: whole ones, and the chunks of a stream."""

import time
import uuid
from collections.abc import Mapping, Sequence

from modelrouter.chat import Part
from modelrouter.reply import Reply
from modelrouter.server import sse
from modelrouter.server.answering import Answering
from modelrouter.server.timings import timings
from modelrouter.tokens import Chance, TokenLogprobs
from modelrouter.tools import ToolCall
from modelrouter.trace import Fact


def usage(reply: Reply) -> dict[str, Fact]:
    """Return the counts of a whole answer's tokens."""
    counts = reply.usage
    assert counts is not None
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
    }


def _logprobs(logprobs: Sequence[TokenLogprobs]) -> Fact:
    return {
        "content": [
            {**_chance(each.drawn), "top_logprobs": [_chance(other) for other in each.top]}
            for each in logprobs
        ],
        "refusal": None,
    }


def _chance(chance: Chance) -> dict[str, Fact]:
    return {"token": chance.text, "logprob": chance.logprob, "bytes": list(chance.bytes)}


def finish_reason(reply: Reply) -> str | None:
    """Return why the answer ended, in OpenAI's words."""
    return "tool_calls" if reply.tool_calls and reply.finish == "stop" else reply.finish


def tool_calls(calls: Sequence[ToolCall]) -> list[dict[str, Fact]]:
    """Return calls as a whole message has them."""
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]


def completion(reply: Reply) -> dict[str, Fact]:
    """Return a whole answer as `chat.completion`."""
    calls = tool_calls(reply.tool_calls)
    text = reply.text or None if calls else reply.text
    message: dict[str, Fact] = {"role": "assistant", "content": text}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if calls:
        message["tool_calls"] = [*calls]
    choice: Fact = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(reply.logprobs) if reply.route.request.logprobs is not None else None,
        "finish_reason": finish_reason(reply),
    }
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model,
        "choices": [choice],
        "usage": usage(reply),
        **explained(reply),
    }


def explained(reply: Reply) -> dict[str, Fact]:
    """Return what the end of an answer says beside OpenAI's fields: llama.cpp's, and ours."""
    assert reply.usage is not None
    return {"timings": timings(reply.usage, reply.timings), "modelrouter": reply.to_json()}


class Chunks:
    """What all chunks of one answer share."""

    def __init__(self) -> None:
        """Give the answer a name."""
        self._shared: dict[str, Fact] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
        }
        self._calls = 0

    def delta(self, part: Part) -> dict[str, Fact]:
        """Return a part as what it adds to the message; a call comes whole."""
        delta: dict[str, Fact] = {}
        if part.reasoning:
            delta["reasoning_content"] = part.reasoning
        if part.text or not (part.reasoning or part.calls):
            delta["content"] = part.text
        if part.calls:
            numbered = enumerate(tool_calls(part.calls), self._calls)
            delta["tool_calls"] = [{"index": n, **call} for n, call in numbered]
            self._calls += len(part.calls)
        return delta

    def of(
        self,
        answering: Answering,
        delta: dict[str, Fact],
        finish: str | None = None,
        logprobs: Sequence[TokenLogprobs] = (),
        further: Mapping[str, Fact] | None = None,
    ) -> str:
        """Return one chunk as an event, with `further` fields beside OpenAI's."""
        choice: Fact = {
            "index": 0,
            "delta": delta,
            "logprobs": _logprobs(logprobs) if logprobs else None,
            "finish_reason": finish,
        }
        model = answering.reply.model if answering.reply else "auto"
        return sse.event({**self._shared, "model": model, "choices": [choice], **(further or {})})

    def usage(self, reply: Reply) -> str:
        """Return the chunk that only tells the usage, for who asked for it."""
        return sse.event(
            {**self._shared, "model": reply.model, "choices": [], "usage": usage(reply)}
        )
