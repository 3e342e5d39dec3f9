"""How the engine's tests talk to it: start, ask, listen to the end, count what is left behind.

Nothing here knows what an answer should be.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelrouter.engine.answer_stream import Stream
from modelrouter.engine.process import Engine
from modelrouter.errors import ModelRouterError
from modelrouter.generation import Delta, Done, Generation, Piece
from modelrouter.registry import ModelSpec
from modelrouter.types import Sampling

GREEDY = Sampling(temperature=0)
ENDLESS = Sampling(temperature=0, frequency_penalty=-2, presence_penalty=-2)
"""What was said once becomes likelier still: only the context's 4,096 tokens end such an answer."""


@asynccontextmanager
async def started(spec: ModelSpec) -> AsyncIterator[Engine]:
    """Give an engine for the length of a block."""
    engine = await Engine.start(spec)
    try:
        yield engine
    finally:
        await engine.stop()


def submit(
    engine: Engine,
    text: str = "hello",
    *,
    max_tokens: int | None = 8,
    stop: tuple[str, ...] = (),
    sampling: Sampling = GREEDY,
) -> Stream:
    """Hand over a prompt of plain text."""
    prompt = (Piece(text, special=False),)
    return engine.submit(Generation(prompt, sampling, max_tokens, stop))


async def answer(stream: Stream) -> tuple[str, Done]:
    """Return an answer's text and its end, which must be the last event and the only one."""
    *deltas, end = [event async for event in stream]
    assert isinstance(end, Done)
    assert all(isinstance(event, Delta) and event.text for event in deltas)
    return "".join(event.text for event in deltas if isinstance(event, Delta)), end


async def failure(awaitable: Awaitable[object]) -> ModelRouterError:
    """Return the error that something must end with."""
    with pytest.raises(ModelRouterError) as caught:
        await awaitable
    return caught.value


async def first_text(stream: Stream) -> None:
    """Wait until a stream's answer has begun."""
    assert isinstance(await anext(stream), Delta)


def children() -> list[int]:
    """Return the process ids of this process's children."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(pid) for each in lists for pid in each.read_text().split()]
