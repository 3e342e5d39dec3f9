"""Whatever ends a worker, everybody who waits is told once, and nothing is left behind.

Real processes and real signals; the tiny model, which loads in no time.
"""

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from talking import ENDLESS, answer, children, failure, first_text, started, submit

from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import ProtocolError
from modelrouter.errors import EngineError, ModelRouterError, WorkerDied
from modelrouter.registry import ModelSpec

MakeSpec: TypeAlias = Callable[..., ModelSpec]

OOM_ADVICE = "probably out of memory: the kernel ends the largest; lower `context` or `slots`"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """After each test there is no worker, and nothing that should have been closed."""
    yield
    gc.collect()
    assert children() == []


@pytest.fixture
async def engine(tiny_spec: ModelSpec) -> AsyncIterator[Engine]:
    """The tiny model, loaded."""
    async with started(tiny_spec) as engine:
        yield engine


def descriptors() -> list[str]:
    """Return this process's open file descriptors."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


# ---- death --------------------------------------------------------------------------------------


def assert_killed(error: ModelRouterError, when: str, name: str = "tiny") -> None:
    """Check that the error tells the signal and what it means."""
    assert isinstance(error, WorkerDied)
    assert error.message == f"{name}: the worker was ended by signal 9 (SIGKILL) {when}"
    assert error.hint == OOM_ADVICE


async def test_killed_while_it_loads(make_spec: MakeSpec, starter_gguf: Path) -> None:
    """Whoever waits for the load is told, and the next start works."""
    spec = make_spec(starter_gguf, "starter", residency="resident", context=256, threads=1)

    def kill(_fraction: float) -> None:
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    error = await failure(Engine.start(spec, kill))
    assert_killed(error, "while it loaded the model", "starter")
    async with started(spec) as engine:
        assert await answer(submit(engine))


async def test_killed_in_prefill_and_in_the_queue(long_spec: ModelSpec) -> None:
    """Every request that waits for its first token gets the error, each its own."""
    async with started(long_spec) as engine:
        streams = [submit(engine, letter * 4000) for letter in "abcd"]
        os.kill(engine.pid, signal.SIGKILL)
        errors = await asyncio.gather(*(failure(answer(stream)) for stream in streams))
        for error in errors:
            assert_killed(error, "while it worked")
        assert len(set(map(id, errors))) == len(errors)


async def test_killed_in_decode(long_spec: ModelSpec) -> None:
    """An answer that has begun ends with the error, not in silence."""
    async with started(long_spec) as engine:
        stream = submit(engine, max_tokens=None, sampling=ENDLESS)
        await first_text(stream)
        os.kill(engine.pid, signal.SIGKILL)
        assert_killed(await failure(answer(stream)), "while it worked")
        assert [event async for event in stream] == []
    async with started(long_spec) as engine:
        assert await answer(submit(engine))


async def test_killed_while_idle(engine: Engine) -> None:
    """`died` tells it, and a later request is refused at once."""
    os.kill(engine.pid, signal.SIGKILL)
    assert_killed(await engine.died, "while it worked")
    with pytest.raises(WorkerDied):
        submit(engine)


async def test_another_signal_is_named(engine: Engine) -> None:
    """A native abort is no lack of memory, and no such advice is given."""
    os.kill(engine.pid, signal.SIGABRT)
    error = await engine.died
    assert error.message == "tiny: the worker was ended by signal 6 (SIGABRT) while it worked"
    assert error.hint is None


async def test_a_worker_that_talks_nonsense_is_gone_once_it_counts_as_dead(engine: Engine) -> None:
    """Its death is told only when its memory is back, for the scheduler lends it out at once."""
    engine._reader.feed_data(b"HTTP/1.1 200 OK")
    error = await engine.died
    assert isinstance(error, ProtocolError)
    assert children() == []


async def test_ctrl_c_is_not_for_the_worker(engine: Engine) -> None:
    """A terminal's SIGINT goes to every process; the parent alone decides."""
    os.kill(engine.pid, signal.SIGINT)
    assert await answer(submit(engine))


# ---- leaving ------------------------------------------------------------------------------------


async def test_a_start_that_is_cancelled_leaves_nothing(tiny_spec: ModelSpec) -> None:
    """At whatever moment nobody wants the load any more, its worker ends."""
    for steps in (0, 1, 2, 3, 5, 8, 20):
        start = asyncio.create_task(Engine.start(tiny_spec))
        for _ in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert children() == []


async def test_a_load_that_is_cancelled_leaves_nothing(tiny_spec: ModelSpec) -> None:
    """Also when the worker has begun to read."""

    def cancel(_fraction: float) -> None:
        if not start.cancelling():
            start.cancel()

    start = asyncio.create_task(Engine.start(tiny_spec, cancel))
    with pytest.raises(asyncio.CancelledError):
        await start
    assert children() == []


async def test_stopping_twice(engine: Engine) -> None:
    """The second time there is nothing to do, and the reason stays."""
    await engine.stop()
    await engine.stop()
    await engine.kill()
    assert engine.died.result().message == "tiny: the worker was stopped"
    with pytest.raises(WorkerDied, match=r"^tiny: the worker was stopped$"):
        submit(engine)


@pytest.mark.parametrize("end", [Engine.stop, Engine.kill])
async def test_stopping_ends_the_answers(
    long_spec: ModelSpec, end: Callable[[Engine], Awaitable[None]]
) -> None:
    """Who still listens is told that it was stopped, not that the worker died of something."""
    async with started(long_spec) as engine:
        stream = submit(engine, max_tokens=None, sampling=ENDLESS)
        await first_text(stream)
        await end(engine)
        error = await failure(answer(stream))
        assert type(error) is WorkerDied
        assert error.message == "tiny: the worker was stopped"


async def test_a_stop_that_is_cancelled_still_ends_the_worker(long_spec: ModelSpec) -> None:
    """The memory is given back also where nobody waits to see it."""
    engine = await Engine.start(long_spec)
    os.kill(engine.pid, signal.SIGSTOP)
    stopping = asyncio.create_task(engine.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert isinstance(await engine.died, EngineError)
    assert children() == []


async def test_twenty_lives_leave_no_descriptor_behind(tiny_spec: ModelSpec) -> None:
    """Sockets, pipes and processes are as they were; warnings are errors in this suite."""
    async with started(tiny_spec):
        pass
    before = descriptors()
    for _ in range(4):
        engines = await asyncio.gather(*(Engine.start(tiny_spec) for _ in range(5)))
        await asyncio.gather(*(answer(submit(engine)) for engine in engines))
        await asyncio.gather(*(engine.stop() for engine in engines))
    gc.collect()
    assert descriptors() == before


PARENT = """
import asyncio, sys
from pathlib import Path
from modelrouter import config
from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import ProtocolError
from modelrouter.registry import catalogue

async def main():
    models = catalogue(config.load(config.find_config(Path(sys.argv[1]))))
    engine = await Engine.start(models.specs["tiny"])
    print(engine.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.usefixtures("tiny_spec")
def test_a_worker_does_not_outlive_its_parent(tmp_path: Path) -> None:
    """Not even a parent that is killed and cannot say goodbye."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "models.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        ended = select.poll()
        ended.register(worker, select.POLLIN)
        assert ended.poll(10_000), "the worker still runs"
        os.close(worker)
