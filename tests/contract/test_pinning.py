"""Pinning in real workers, as the parent asks and as the kernel counts; and a worker's place in
line, for the CPU and before the OOM killer.

The model is the tiny one, mapped: 0.2 MB, which every system lets a process lock.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from talking import ENDLESS, answer, children, failure, first_text, started, submit

from modelrouter.engine.niceness import OOM_MAPPED, OOM_RESIDENT
from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import Niceness, Pinned
from modelrouter.engine.residency import NOT_MAPPED, PAGE_BYTES
from modelrouter.errors import WorkerDied
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.scheduler import Scheduler

MakeSpec: TypeAlias = Callable[..., ModelSpec]

PAGES = 20


@pytest.fixture
def mapped_spec(make_spec: MakeSpec, tiny_gguf: Path) -> ModelSpec:
    """The tiny model, mapped, for two threads."""
    return make_spec(tiny_gguf, residency="mapped", context=4096, slots=2, threads=2)


@pytest.fixture
async def engine(mapped_spec: ModelSpec) -> AsyncIterator[Engine]:
    """The tiny model, mapped and loaded."""
    async with started(mapped_spec) as engine:
        yield engine


def locked_bytes(engine: Engine) -> int:
    """Return what the kernel has locked of the worker."""
    status = Path(f"/proc/{engine.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmLck:"))


# ---- pinning ------------------------------------------------------------------------------------


async def test_what_is_pinned_grows_and_shrinks_while_it_answers(engine: Engine) -> None:
    """The kernel has locked what the answer says, and the stream goes on."""
    stream = submit(engine, max_tokens=None, sampling=ENDLESS)
    for pages in (PAGES, 2 * PAGES, 1, 0, 3):
        assert await engine.pin(pages * PAGE_BYTES) == Pinned(pages * PAGE_BYTES, None)
        assert engine.pinned_bytes == locked_bytes(engine) == pages * PAGE_BYTES
        await first_text(stream)
    stream.cancel()


async def test_pinning_tells_its_progress(engine: Engine) -> None:
    """The steps rise to the end, which is all of the weights when more is asked."""
    steps: list[int] = []
    end = await engine.pin(10**12, steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == end.n_bytes == locked_bytes(engine)
    assert end.reason == f"its weights are {end.n_bytes:,} bytes, and all of them are pinned"


async def test_pinning_before_and_while_it_loads(mapped_spec: ModelSpec) -> None:
    """The goal may be set as soon as there is a worker, and changed at any time."""
    engine = await Engine.spawn(mapped_spec)
    first = asyncio.create_task(engine.pin(PAGES * PAGE_BYTES))
    goals = []

    def change(_fraction: float) -> None:
        goals.append(asyncio.create_task(engine.pin((len(goals) + 1) * PAGE_BYTES)))

    await asyncio.sleep(0)  # the task sends the goal
    await engine.load(change)
    ends = [await goal for goal in (first, *goals)]
    assert len(ends) > 1
    assert ends[-1] == Pinned(len(goals) * PAGE_BYTES, None)
    assert locked_bytes(engine) == len(goals) * PAGE_BYTES
    assert await answer(submit(engine))
    await engine.stop()


async def test_every_goal_has_its_answer(engine: Engine) -> None:
    """Ten at once: each is answered, the last one is what holds, and who left is not missed."""
    goals = [asyncio.create_task(engine.pin(n * PAGE_BYTES)) for n in range(10)]
    await asyncio.sleep(0)  # each task sends its goal
    goals[3].cancel()
    ends = await asyncio.gather(*goals, return_exceptions=True)
    assert isinstance(ends[3], asyncio.CancelledError)
    assert ends[-1] == Pinned(9 * PAGE_BYTES, None)
    assert engine.pinned_bytes == locked_bytes(engine) == 9 * PAGE_BYTES


async def test_a_resident_model_has_nothing_to_pin(tiny_spec: ModelSpec) -> None:
    """Its weights are not mapped, and the answer says so."""
    async with started(tiny_spec) as engine:
        assert await engine.pin(PAGE_BYTES) == Pinned(0, NOT_MAPPED)


async def test_a_worker_that_dies_answers_nobody(engine: Engine) -> None:
    """Whoever waits for the pinning is told; so is who asks afterwards."""
    await engine.pin(PAGE_BYTES)
    os.kill(engine.pid, signal.SIGSTOP)
    # until it has stopped it could still answer
    await asyncio.to_thread(os.waitid, os.P_PID, engine.pid, os.WSTOPPED | os.WNOWAIT)
    goals = [asyncio.create_task(engine.pin(n * PAGE_BYTES)) for n in (2, 3)]
    await asyncio.sleep(0)  # each task sends its goal
    os.kill(engine.pid, signal.SIGKILL)
    errors = [await failure(goal) for goal in goals]
    assert all(isinstance(error, WorkerDied) for error in errors)
    assert errors[0] is not errors[1]
    assert engine.pinned_bytes == 0
    with pytest.raises(WorkerDied):
        await engine.pin(PAGE_BYTES)


async def test_a_worker_that_is_never_loaded_can_be_ended(mapped_spec: ModelSpec) -> None:
    """Who spawns and thinks better of it leaves no process and no waiting goal."""
    engine = await Engine.spawn(mapped_spec)
    goal = asyncio.create_task(engine.pin(PAGE_BYTES))
    await asyncio.sleep(0)  # the task sends the goal
    await engine.kill()
    assert isinstance(await failure(goal), WorkerDied)
    assert children() == []


# ---- its place in line --------------------------------------------------------------------------


def policies(engine: Engine) -> list[int]:
    """Return the scheduling policy of each of the worker's threads."""
    threads = Path(f"/proc/{engine.pid}/task").iterdir()
    return [os.sched_getscheduler(int(thread.name)) for thread in threads]


@pytest.mark.parametrize(
    ("niceness", "policy", "nice"),
    [
        ("normal", os.SCHED_OTHER, 0),
        ("nice", os.SCHED_OTHER, 19),
        ("idle", os.SCHED_IDLE, 0),
    ],
)
async def test_the_priority_that_was_asked_for(
    mapped_spec: ModelSpec, niceness: Niceness, policy: int, nice: int
) -> None:
    """The thread that loads and decodes has it."""
    own_nice = os.getpriority(os.PRIO_PROCESS, 0)
    engine = await Engine.spawn(mapped_spec, niceness)
    await engine.load()
    assert os.sched_getscheduler(engine.pid) == policy
    assert os.getpriority(os.PRIO_PROCESS, engine.pid) == max(nice, own_nice)
    await engine.stop()


async def test_a_mapped_model_gives_way_and_its_reader_does_not(engine: Engine) -> None:
    """The two threads that decode do; those that read the socket and pin keep their place."""
    await answer(submit(engine))
    assert os.sched_getscheduler(engine.pid) == os.SCHED_IDLE
    assert policies(engine).count(os.SCHED_IDLE) == 2
    assert policies(engine).count(os.SCHED_OTHER) >= 2


@pytest.mark.parametrize(("others", "policy"), [((), os.SCHED_OTHER), (("r",), os.SCHED_IDLE)])
async def test_who_a_mapped_model_gives_way_to(
    mapped_spec: ModelSpec, tiny_spec: ModelSpec, others: tuple[str, ...], policy: int
) -> None:
    """To a resident model; where there is none it is as everybody else."""
    specs = {"m": mapped_spec} | dict.fromkeys(others, tiny_spec)
    scheduler = Scheduler(specs, 2**30, 8)
    try:
        await scheduler.load("m")
        pid = scheduler.status().of("m").pid
        assert pid is not None
        assert os.sched_getscheduler(pid) == policy
    finally:
        await scheduler.close()


async def test_a_resident_model_gives_way_to_nobody(tiny_spec: ModelSpec) -> None:
    """Its threads are like the router's."""
    async with started(tiny_spec) as engine:
        await answer(submit(engine))
        assert set(policies(engine)) == {os.sched_getscheduler(0)}


async def test_priorities_count_among_the_workers(engine: Engine) -> None:
    """All are of the router's session, the unit that Linux shares the CPU among first.

    A process group of its own keeps the terminal's Ctrl-C away.
    """
    assert os.getsid(engine.pid) == os.getsid(0)
    assert os.getpgid(engine.pid) == engine.pid


async def test_the_oom_killer_takes_mapped_models_first(
    engine: Engine, tiny_spec: ModelSpec
) -> None:
    """Then resident ones; the router's own score stays as it is."""

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    own = score(os.getpid())
    async with started(tiny_spec) as resident:
        assert score(engine.pid) == max(own, OOM_MAPPED)
        assert score(resident.pid) == max(own, OOM_RESIDENT)
    assert score(os.getpid()) == own
