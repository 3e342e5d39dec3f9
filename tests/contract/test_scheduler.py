"""The scheduler with real workers of a tiny model: leases, swaps, deaths, and its end.

The budget holds one model at a time, but where a test says otherwise. It knows no router.
"""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from leasing import (
    GREEDY,
    PROMPT,
    Specs,
    answer,
    in_line,
    pid_of,
    scheduler_of,
    spoken,
    workers,
)

from modelrouter.errors import CapacityError, LoadFailed, NeverFits, SlotsBusy, WorkerDied
from modelrouter.forecast import ModelState
from modelrouter.generation import Generation
from modelrouter.gguf import read_facts
from modelrouter.scheduler.scheduler import Scheduler


async def test_models_that_fit_one_at_a_time_are_swapped(specs: Specs) -> None:
    """Each is loaded when it is asked for; the other's process is gone before."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        first = await answer(scheduler, "a")
        async with scheduler.lease("b") as lease:
            assert [worker.pid for worker in workers()] == [pid_of(lease)]
            assert await spoken(lease) == first
        assert scheduler.forecast()["a"].state is ModelState.UNLOADED
        assert await answer(scheduler, "a") == first


async def test_both_are_answered_when_asked_at_once(specs: Specs) -> None:
    """A crowd for two models that cannot be there together is served, one model after the other."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        answers = await asyncio.gather(*(answer(scheduler, model) for model in "ababab"))
    assert len(set(answers)) == 1


async def test_a_resident_model_stays(specs: Specs) -> None:
    """It is loaded at the start, and the same process is there after others came and went."""
    async with scheduler_of(specs, "resident", "a", "b", room_for=2) as scheduler:
        scheduler.warm()
        async with scheduler.lease("resident") as lease:
            pid = pid_of(lease)
        for model in "abab":
            await answer(scheduler, model)
        async with scheduler.lease("resident") as lease:
            assert pid_of(lease) == pid


async def test_a_waiter_who_leaves_frees_his_place(specs: Specs) -> None:
    """The line closes up behind him, and the next in it gets the slot."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a"):
            leaver, stayer = (asyncio.create_task(answer(scheduler, "a")) for _ in range(2))
            await in_line(leaver)
            assert scheduler.forecast()["a"].waiting == 2
            leaver.cancel()
            await asyncio.wait([leaver])
            assert scheduler.forecast()["a"].waiting == 1
        assert await stayer


async def test_a_grant_to_someone_who_just_left_is_not_lost(specs: Specs) -> None:
    """The slot that came free in the moment he gave up goes to the next."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a"):
            leaver, stayer = (asyncio.create_task(answer(scheduler, "a")) for _ in range(2))
            await in_line(leaver)
        leaver.cancel()
        assert await stayer
        assert leaver.cancelled()
        assert scheduler.forecast()["a"].free_slots == 1


async def test_a_load_that_nobody_wants_any_more_makes_room(specs: Specs) -> None:
    """It is ended in the middle, and its process is gone before the next one's starts."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        leaver = asyncio.create_task(answer(scheduler, "a"))
        await in_line(leaver)
        assert scheduler.forecast()["a"].state is ModelState.LOADING
        leaver.cancel()
        async with scheduler.lease("b") as lease:
            assert [worker.pid for worker in workers()] == [pid_of(lease)]


async def test_a_model_wanted_again_while_it_is_unloaded_comes_back(specs: Specs) -> None:
    """Who comes for a model that is just being evicted is served after the one it made room for."""
    async with scheduler_of(specs, "a", "b") as scheduler:
        await answer(scheduler, "a")
        other = asyncio.create_task(answer(scheduler, "b"))
        await in_line(other)
        assert scheduler.forecast()["a"].state is ModelState.UNLOADING
        assert await answer(scheduler, "a") == await other


async def test_a_worker_killed_at_work_fails_its_request_alone(specs: Specs) -> None:
    """The holder is told of what it died; who waits behind him gets a new worker."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a") as lease:
            waiter = asyncio.create_task(answer(scheduler, "a"))
            await in_line(waiter)
            os.kill(pid_of(lease), signal.SIGSTOP)
            stream = lease.generate(Generation(PROMPT, GREEDY, 4))
            os.kill(pid_of(lease), signal.SIGKILL)
            with pytest.raises(
                WorkerDied, match=r"a: the worker was ended by signal 9 \(SIGKILL\)"
            ):
                await anext(stream)
        assert await waiter


async def test_a_worker_that_died_between_grant_and_use(specs: Specs) -> None:
    """The holder hears of it when he asks for an answer; the next request loads the model anew."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a") as lease:
            os.kill(pid_of(lease), signal.SIGKILL)
            await lease._engine.died
            with pytest.raises(WorkerDied):
                lease.generate(Generation(PROMPT, GREEDY, 4))
        assert await answer(scheduler, "a")


async def test_an_idle_worker_that_dies_is_cleared_away(specs: Specs) -> None:
    """Its memory counts no longer, and the model is loaded again for the next request."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a") as lease:
            engine = lease._engine
        os.kill(engine.pid, signal.SIGKILL)
        await engine.died
        await asyncio.sleep(0)
        assert scheduler.forecast()["a"].state is ModelState.UNLOADED
        assert await answer(scheduler, "a")


async def test_a_load_that_fails_is_told_to_all_and_tried_anew(
    specs: Specs, tmp_path: Path
) -> None:
    """Each waiter has an error of his own; once the file is mended, the model loads."""
    file = tmp_path / "moving.gguf"
    file.write_bytes(specs["a"].facts.path.read_bytes())
    moved, content, status = read_facts(file), file.read_bytes(), file.stat()
    async with scheduler_of({"a": replace(specs["a"], facts=moved)}, "a") as scheduler:
        file.write_bytes(content[: len(content) // 2])
        errors = await asyncio.gather(
            *(answer(scheduler, "a") for _ in range(2)), return_exceptions=True
        )
        assert [type(error) for error in errors] == [LoadFailed] * 2
        assert errors[0] is not errors[1]
        file.write_bytes(content)
        with pytest.raises(LoadFailed, match="has changed since its header was read"):
            await answer(scheduler, "a")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert await answer(scheduler, "a")


async def test_who_may_not_wait_is_refused_while_the_slot_is_taken(specs: Specs) -> None:
    """He is told at once, and is served when the slot is free."""
    async with scheduler_of(specs, "a") as scheduler:
        async with scheduler.lease("a"):
            with pytest.raises(SlotsBusy, match=r"^a is busy: 1 of 1 slots taken$"):
                await scheduler.lease("a", may_wait=False).__aenter__()
        async with scheduler.lease("a", may_wait=False) as lease:
            assert await spoken(lease)


async def test_what_never_fits_is_refused_with_the_numbers(specs: Specs) -> None:
    """No process is started for it."""
    need = specs["a"].charged_bytes
    scheduler = Scheduler({"a": specs["a"]}, need - 2**20, max_waiting=8)
    with pytest.raises(NeverFits) as refusal:
        await answer(scheduler, "a")
    needed, budget = f"{need / 2**20:.1f} MiB", f"{need / 2**20 - 1:.1f} MiB"
    assert refusal.value.message == f"a needs {needed}; the budget is {budget}"
    assert not workers()


async def test_a_request_knows_what_it_waits_for(specs: Specs) -> None:
    """Its number leads to the load, to its place in the line, and to nothing once it is over."""
    async with scheduler_of(specs, "a") as scheduler:
        tickets: list[int] = []
        async with scheduler.lease("a", on_ticket=tickets.append):
            waiter = asyncio.create_task(answer(scheduler, "a", on_ticket=tickets.append))
            await in_line(waiter)
            assert [str(scheduler.wait_of(ticket)) for ticket in tickets] == [
                "a is reading the prompt",
                "waiting for a: you are next",
            ]
        await waiter
        assert [scheduler.wait_of(ticket) for ticket in tickets] == [None, None]


async def test_a_load_that_is_called_off_says_so(specs: Specs) -> None:
    """Who waits for a model to be loaded hears that it was unloaded, not that the server ends."""
    async with scheduler_of(specs, "a") as scheduler:
        load = asyncio.create_task(scheduler.load("a"))
        await asyncio.sleep(0)
        await scheduler.unload("a")
        with pytest.raises(CapacityError, match=r"^a was unloaded again before anybody used it$"):
            await load
        assert scheduler.status().of("a").state is ModelState.UNLOADED


async def test_closing_ends_everything(specs: Specs) -> None:
    """Workers, loads and waits end; who comes later is told, and nobody waits for ever."""
    async with scheduler_of(specs, "a", "b", room_for=2) as scheduler:
        await answer(scheduler, "a")
        async with scheduler.lease("a"):
            waiter = asyncio.create_task(answer(scheduler, "a"))
            loading = asyncio.create_task(answer(scheduler, "b"))
            await in_line(loading)
            await scheduler.close()
            for task in (waiter, loading):
                with pytest.raises(CapacityError, match=r"^the server is shutting down$"):
                    await task
        assert not workers()
        with pytest.raises(CapacityError, match=r"^the server is shutting down$"):
            await answer(scheduler, "a")


async def test_closing_is_no_accident(specs: Specs, caplog: pytest.LogCaptureFixture) -> None:
    """Workers that are stopped on purpose cause no warning of a death."""
    async with scheduler_of(specs, "a") as scheduler:
        await answer(scheduler, "a")
    await asyncio.sleep(0)
    assert caplog.records == []
