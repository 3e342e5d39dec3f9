"""The scheduler's rules with real workers: turns, patience, failures, commands, what others see.

The core's own tests try the rules in every order; here is that they reach the workers. The budget
holds one model at a time, but where a test says otherwise.
"""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from leasing import Specs, answer, in_line, pid_of, scheduler_of, spoken, until, workers

from modelrouter.errors import (
    CapacityError,
    DeadlineExceeded,
    EngineError,
    LoadFailed,
    NeverFits,
    UnknownModel,
)
from modelrouter.forecast import ModelState
from modelrouter.scheduler.effects import Priority
from modelrouter.scheduler.rates import Rates
from modelrouter.scheduler.room import MOST_FAILURES
from modelrouter.scheduler.scheduler import Scheduler


async def test_slots_are_granted_by_priority(specs: Specs) -> None:
    """An editor before a chat before a side job, whoever came first."""
    served: list[Priority] = []

    async def ask(priority: Priority) -> None:
        async with scheduler.lease("a", priority=priority):
            served.append(priority)

    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a"):
            tasks = [asyncio.create_task(ask(priority)) for priority in reversed(Priority)]
            await in_line(tasks[-1])
        await asyncio.gather(*tasks)
    assert served == sorted(Priority)


async def test_a_busy_model_runs_dry_for_who_has_waited_long(specs: Specs) -> None:
    """It has a free slot and grants it to nobody; when the last request leaves, it makes room."""
    served: list[str] = []

    async def ask(model: str) -> None:
        async with scheduler.lease(model):
            served.append(model)

    async with scheduler_of(specs, "wide", "b", patience_seconds=0.05) as scheduler:
        async with scheduler.lease("wide"):
            waiter = asyncio.create_task(ask("b"))
            await in_line(waiter)
            await until(scheduler, lambda: scheduler.forecast()["wide"].free_slots == 0)
            latecomer = asyncio.create_task(ask("wide"))
            await in_line(latecomer)
            assert scheduler.forecast()["wide"].waiting == 1
        await asyncio.gather(waiter, latecomer)
    assert served == ["b", "wide"]


async def test_a_busy_model_that_nobody_waits_for_any_more_goes_on(specs: Specs) -> None:
    """The one who had waited long has left: the free slot is granted at once."""
    async with (
        scheduler_of(specs, "wide", "b", patience_seconds=0.05) as scheduler,
        scheduler.lease("wide"),
    ):
        waiter = asyncio.create_task(answer(scheduler, "b"))
        await in_line(waiter)
        await until(scheduler, lambda: scheduler.forecast()["wide"].free_slots == 0)
        latecomer = asyncio.create_task(answer(scheduler, "wide"))
        await in_line(latecomer)
        waiter.cancel()
        assert await latecomer


async def test_who_waits_too_long_is_told(specs: Specs) -> None:
    """After the seconds that the server allows; the slot's holder is not disturbed."""
    async with scheduler_of(specs, "a", max_wait_seconds=0.05) as scheduler:
        await scheduler.load("a")
        async with scheduler.lease("a") as lease:
            with pytest.raises(DeadlineExceeded, match=r"^no slot of a was free within 0\.05 s$"):
                await answer(scheduler, "a")
            assert await spoken(lease)


async def test_a_model_that_dies_again_and_again_is_left_alone(specs: Specs) -> None:
    """Until a person wants it loaded: then it is tried again, and serves."""
    async with scheduler_of(specs, "a") as scheduler:
        for _ in range(MOST_FAILURES):
            async with scheduler.lease("a") as lease:
                os.kill(pid_of(lease), signal.SIGKILL)
                await lease._engine.died
        assert scheduler.forecast()["a"].state is ModelState.FAILED
        with pytest.raises(EngineError) as refusal:
            await answer(scheduler, "a")
        assert refusal.value.message.startswith(
            "a failed 4 times in a row and is left alone: a: the worker was ended by signal 9"
        )
        await scheduler.load("a")
        assert await answer(scheduler, "a")
        assert scheduler.status().models[0].problem is None


async def test_a_worker_that_dies_at_work_counts_as_a_failure(specs: Specs) -> None:
    """Though its request leaves as soon as it hears of it: that was no answer."""

    async def be_cut_off() -> None:
        async with scheduler.lease("a") as lease:
            os.kill(pid_of(lease), signal.SIGSTOP)
            speaking = asyncio.create_task(spoken(lease))
            await in_line(speaking)
            os.kill(pid_of(lease), signal.SIGKILL)
            await speaking

    async with scheduler_of(specs, "a") as scheduler:
        with pytest.raises(EngineError):
            await be_cut_off()
        assert scheduler.status().models[0].failures == 1


async def test_a_resident_whose_worker_died_comes_back_by_itself(specs: Specs) -> None:
    """Nobody has to ask for it."""
    async with scheduler_of(specs, "resident") as scheduler:
        await scheduler.load("resident")
        (worker,) = workers()
        worker.kill()
        await until(scheduler, lambda: scheduler.status().models[0].failures == 1)
        await until(scheduler, lambda: scheduler.status().models[0].state is ModelState.READY)
        (successor,) = workers()
        assert successor.pid != worker.pid


async def test_a_model_is_loaded_and_unloaded_by_command(specs: Specs) -> None:
    """Each returns when it is so; a resident obeys too."""
    for name in ("a", "resident"):
        async with scheduler_of(specs, name) as scheduler:
            await scheduler.load(name)
            assert scheduler.forecast()[name].state is ModelState.READY
            await scheduler.load(name)
            assert len(workers()) == 1
            await scheduler.unload(name)
            assert scheduler.forecast()[name].state is ModelState.UNLOADED
            assert not workers()
            await scheduler.unload(name)
            assert await answer(scheduler, name)


async def test_an_unload_waits_for_who_is_being_answered(specs: Specs) -> None:
    """It takes no new requests meanwhile; they have the model loaded again."""
    async with scheduler_of(specs, "wide") as scheduler:
        async with scheduler.lease("wide") as lease:
            pid = pid_of(lease)
            unload = asyncio.create_task(scheduler.unload("wide"))
            await in_line(unload)
            latecomer = asyncio.create_task(answer(scheduler, "wide"))
            await in_line(latecomer)
            assert await spoken(lease)
            assert not unload.done()
        await unload
        assert await latecomer
        assert pid not in [worker.pid for worker in workers()]


async def test_a_load_by_command_says_why_not(specs: Specs) -> None:
    """No such model, too large, a file that has changed, or a request that came between."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        with pytest.raises(UnknownModel, match=r'^no model "c" that can be loaded; there are a, b'):
            await scheduler.load("c")
        load = asyncio.create_task(scheduler.load("a"))
        await in_line(load)
        assert await answer(scheduler, "b")
        with pytest.raises(CapacityError, match=r"^a was unloaded again before anybody used it"):
            await load
    small = Scheduler({"a": specs["a"]}, 2**20, max_waiting=8)
    with pytest.raises(NeverFits):
        await small.load("a")
    facts = replace(specs["a"].facts, path=Path("/nowhere/a.gguf"))
    async with scheduler_of({"a": replace(specs["a"], facts=facts)}, "a") as scheduler:
        with pytest.raises(LoadFailed):
            await scheduler.load("a")


async def test_a_load_by_command_ends_with_the_server(specs: Specs) -> None:
    """It is told, and does not wait for ever."""
    async with scheduler_of(specs, "a") as scheduler:
        load = asyncio.create_task(scheduler.load("a"))
        await in_line(load)
        await scheduler.close()
        with pytest.raises(CapacityError, match=r"^the server is shutting down$"):
            await load


async def test_speeds_are_learned_and_outlive_the_server(specs: Specs, tmp_path: Path) -> None:
    """The next one forecasts by them before it has loaded anything."""
    file = tmp_path / "rates.json"
    async with scheduler_of(specs, "a", rates=Rates(file)) as scheduler:
        assert scheduler.forecast()["a"].answer_seconds(10, 10) is None
        await answer(scheduler, "a", max_tokens=16)
    async with scheduler_of(specs, "a", rates=Rates(file)) as scheduler:
        forecast = scheduler.forecast()["a"]
        assert forecast.state is ModelState.UNLOADED
        assert forecast.load_seconds is not None
        assert forecast.load_seconds > 0
        assert forecast.prefill_tokens_per_second is not None
        soon, late = forecast.answer_seconds(10, 10), forecast.answer_seconds(10, 1000)
        assert soon is not None
        assert late is not None
        assert forecast.load_seconds < soon < late


async def test_the_status_is_of_the_workers_that_run(specs: Specs) -> None:
    """Process, slots, line, and what the budget has for it."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        async with scheduler.lease("a") as lease:
            waiter = asyncio.create_task(answer(scheduler, "b"))
            await in_line(waiter)
            status = scheduler.status()
            a, b = status.models
            assert (a.model, a.state, a.pid) == ("a", ModelState.READY, pid_of(lease))
            assert (a.active, a.waiting, b.active, b.waiting) == (1, 0, 0, 1)
            assert (b.state, b.pid) == (ModelState.UNLOADED, None)
            assert status.used_bytes == a.footprint_bytes
        await waiter
        a, b = scheduler.status().models
        assert (a.pid, b.state) == (None, ModelState.READY)
