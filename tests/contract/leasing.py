"""How the scheduler's tests talk to it: run one, ask for an answer, look at its workers.

Nothing here knows what should come of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]

from modelrouter.generation import Delta, Generation, Piece
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.effects import Priority
from modelrouter.scheduler.lease import Lease
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.types import Sampling

Specs = dict[str, ModelSpec]

PROMPT = (Piece("Say something.", special=False),)
GREEDY = Sampling(temperature=0)


@asynccontextmanager
async def scheduler_of(
    specs: Specs, *names: str, room_for: int = 1, **settings: Any
) -> AsyncIterator[Scheduler]:
    """Run a scheduler of the named models whose budget holds `room_for` of them."""
    chosen = {name: specs[name] for name in names}
    largest_bytes = max(spec.charged_bytes for spec in chosen.values())
    scheduler = Scheduler(chosen, largest_bytes * room_for, max_waiting=8, **settings)
    try:
        yield scheduler
    finally:
        await scheduler.close()
        assert not workers()


def workers() -> list[psutil.Process]:
    """Return the worker processes of this process that are not dead."""
    children = psutil.Process().children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


async def answer(
    scheduler: Scheduler,
    model: str,
    priority: Priority = Priority.NORMAL,
    max_tokens: int = 4,
    on_ticket: Callable[[int], None] = lambda _: None,
) -> str:
    """Return a short answer of the model."""
    async with scheduler.lease(model, priority=priority, on_ticket=on_ticket) as lease:
        return await spoken(lease, max_tokens)


async def spoken(lease: Lease, max_tokens: int = 4) -> str:
    """Return a short answer of the leased slot."""
    stream = lease.generate(Generation(PROMPT, GREEDY, max_tokens))
    return "".join([event.text async for event in stream if isinstance(event, Delta)])


async def in_line(task: asyncio.Task[Any]) -> None:
    """Let the task come as far as it can without news from outside: into the line."""
    await asyncio.sleep(0)
    assert not task.done()


async def until(scheduler: Scheduler, is_so: Callable[[], bool]) -> None:
    """Wait for the piece of news that makes it so."""
    while not is_so():
        await scheduler.news()


def pid_of(lease: Lease) -> int:
    """Return the worker's process id."""
    return lease._engine.pid
