"""Bad days of mapped models: the file that changes beneath them, memory that goes, two at once.

Of a disk that fails the kernel makes what it makes of a file cut short: SIGBUS at the touch.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from leasing import answer as scheduled_answer
from talking import ENDLESS, answer, failure, first_text, started, submit

from modelrouter.engine.process import Engine
from modelrouter.engine.residency import PAGE_BYTES
from modelrouter.errors import LoadFailed, WorkerDied
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.synthetic import Geometry, write

MakeSpec = Callable[..., ModelSpec]

GEOMETRY = Geometry(6, 512, 1024, heads=8, kv_heads=2, context_length=1024)


@pytest.fixture
def spec(make_spec: MakeSpec, tmp_path: Path) -> ModelSpec:
    """A model of 15 MB in a file of the test's own, mapped."""
    path = tmp_path / "broad.gguf"
    write(path, GEOMETRY, "Q8_0")
    return make_spec(path, context=256, batch=32, slots=2, name="broad")


@pytest.fixture
async def engine(spec: ModelSpec) -> AsyncIterator[Engine]:
    """Its worker."""
    async with started(spec) as engine:
        yield engine


async def test_a_file_that_is_cut_short_ends_its_worker_alone(
    spec: ModelSpec, tiny_spec: ModelSpec
) -> None:
    """SIGBUS ends the worker, and the error says of what; others answer on, and so does the next
    load, with what is wrong with the file.
    """
    scheduler = Scheduler({"broad": spec, "other": tiny_spec}, 2**30, 8)
    try:
        await scheduled_answer(scheduler, "broad")
        os.truncate(spec.facts.path, spec.facts.path.stat().st_size // 2)
        death = await failure(scheduled_answer(scheduler, "broad"))
        assert isinstance(death, WorkerDied)
        assert "(SIGBUS)" in death.message
        assert death.hint == "the model file was cut short or its disk failed while it was mapped"
        assert await scheduled_answer(scheduler, "other")
        refusal = await failure(scheduled_answer(scheduler, "broad"))
        assert isinstance(refusal, LoadFailed)
        assert str(spec.facts.path) in refusal.message
    finally:
        await scheduler.close()


async def test_a_pinned_file_that_is_cut_short(engine: Engine, spec: ModelSpec) -> None:
    """A lock keeps memory, not a file: the worker ends the same way, and nobody waits for ever."""
    await engine.pin(8 * 2**20)
    os.truncate(spec.facts.path, PAGE_BYTES)
    death = await failure(answer(submit(engine)))
    assert "(SIGBUS)" in death.message
    assert engine.pinned_bytes == 0


async def test_a_file_that_is_replaced(spec: ModelSpec, tmp_path: Path) -> None:
    """The worker goes on with the file it has mapped; the next load refuses the other one."""
    scheduler = Scheduler({"broad": spec}, 2**30, 8)
    try:
        before = await scheduled_answer(scheduler, "broad")
        other = tmp_path / "other.gguf"
        write(other, GEOMETRY, "Q8_0", seed=7)
        other.replace(spec.facts.path)
        assert await scheduled_answer(scheduler, "broad") == before
        await scheduler.unload("broad")
        refusal = await failure(scheduled_answer(scheduler, "broad"))
        assert refusal.message.endswith("has changed since its header was read")
    finally:
        await scheduler.close()


async def test_half_the_budget_goes_while_it_decodes(engine: Engine) -> None:
    """The pin is halved between two words of an answer that goes on to its end."""
    stream = submit(engine, max_tokens=100, sampling=ENDLESS)
    await engine.pin(8 * 2**20)
    await first_text(stream)
    halved = await engine.pin(4 * 2**20)
    assert (halved.n_bytes, halved.reason) == (4 * 2**20, None)
    _, done = await answer(stream)
    assert done.usage.completion_tokens == 100


async def test_two_mapped_models_at_once(
    spec: ModelSpec, make_spec: MakeSpec, tmp_path: Path
) -> None:
    """Both answer at the same time as alone, and what they pin together is inside the budget."""
    twin = shutil.copy(spec.facts.path, tmp_path / "twin.gguf")
    specs = {"a": spec, "b": make_spec(twin, context=256, batch=32, slots=2, name="b")}
    pins = 20 * 2**20
    budget = sum(each.charged_bytes for each in specs.values()) + pins
    scheduler = Scheduler(specs, budget, 8)
    try:
        alone = [await scheduled_answer(scheduler, name) for name in specs]
        while scheduler.pinned_bytes < pins - PAGE_BYTES:
            await scheduler.news()
        together = await asyncio.gather(*(scheduled_answer(scheduler, name) for name in specs))
        assert together == alone
        assert scheduler.pinned_bytes <= pins
        assert scheduler.status().used_bytes <= budget
    finally:
        await scheduler.close()
