"""Pins with real workers: what nobody has or wants is pinned, and gives way before all else."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from modelrouter.engine.residency import STEP_BYTES
from modelrouter.registry import ModelSpec
from modelrouter.scheduler.scheduler import Scheduler
from modelrouter.synthetic import Geometry, write

MakeSpec = Callable[..., ModelSpec]

MIB = 2**20


@pytest.fixture(scope="module")
def broad_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of about 20 MB: pages worth pinning."""
    path = tmp_path_factory.mktemp("models") / "broad.gguf"
    write(path, Geometry(6, 512, 1024, heads=8, kv_heads=2, context_length=1024), "Q8_0")
    return path


@pytest.fixture
def broad(make_spec: MakeSpec, broad_gguf: Path) -> ModelSpec:
    """Return its spec, mapped."""
    return make_spec(broad_gguf, context=256, batch=32, name="broad")


@pytest.fixture
def other(make_spec: MakeSpec, tiny_gguf: Path) -> ModelSpec:
    """Return another model's spec."""
    return make_spec(tiny_gguf, context=256, batch=32, name="other")


def locked_bytes(pid: int | None) -> int:
    """Return what a process has locked, as the kernel counts it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmLck:")]
    return int(line.split()[1]) * 1024


async def pinned(scheduler: Scheduler, model: str, size_bytes: int) -> None:
    """Wait until the model's worker has pinned so much, give or take a page, and the books know."""
    while not (
        abs(scheduler.pinned_bytes - size_bytes) <= 4096
        and abs(scheduler.status().of(model).pinned_bytes - size_bytes) <= 4096
    ):
        await scheduler.news()
    assert abs(locked_bytes(scheduler.status().of(model).pid) - size_bytes) <= 2 * 4096


async def test_all_that_is_left_is_pinned(broad: ModelSpec) -> None:
    """With room for its weights, a mapped model has them all locked soon after it is loaded."""
    mapped = broad.footprint.mapped_bytes
    scheduler = Scheduler({"broad": broad}, broad.charged_bytes + mapped + MIB, 8)
    try:
        await scheduler.load("broad")
        assert scheduler.status().of("broad").pinned_bytes == mapped
        while scheduler.pinned_bytes < broad.facts.weights_bytes:
            await scheduler.news()
        assert locked_bytes(scheduler.status().of("broad").pid) >= broad.facts.weights_bytes
    finally:
        await scheduler.close()


async def test_how_far_a_pin_is(make_spec: MakeSpec, tmp_path: Path) -> None:
    """Steps on the way are shares of what the worker was told; at the end there is none."""
    path = tmp_path / "large.gguf"
    write(path, Geometry(8, 1024, 4096, heads=8, kv_heads=8, context_length=512), "Q8_0")
    spec = make_spec(path, context=256, batch=32, name="large")
    assert spec.footprint.mapped_bytes > 2 * STEP_BYTES
    scheduler = Scheduler({"large": spec}, spec.charged_bytes + spec.footprint.mapped_bytes, 8)
    try:
        await scheduler.load("large")
        shares: list[float] = []
        while scheduler.pinned_bytes < spec.footprint.mapped_bytes:
            await scheduler.news()
            shares += filter(None, [scheduler.status().of("large").pinned_share])
        assert shares
        assert shares == sorted(shares)
        assert shares[-1] < 1
        while scheduler.status().of("large").pinned_share is not None:
            await scheduler.news()
    finally:
        await scheduler.close()


async def test_a_pin_gives_way_before_a_load(broad: ModelSpec, other: ModelSpec) -> None:
    """Another model is asked for: the pin shrinks first, nobody is evicted, the sum stays below."""
    pin = 8 * MIB
    budget = broad.charged_bytes + other.charged_bytes + pin
    scheduler = Scheduler({"broad": broad, "other": other}, budget, 8)
    try:
        await scheduler.load("broad")
        before = broad.footprint.mapped_bytes
        assert before < other.charged_bytes + pin  # alone, it may pin all of its weights
        assert scheduler.status().of("broad").pinned_bytes == before
        async with scheduler.lease("other"):
            status = scheduler.status()
            assert status.used_bytes <= budget
            assert status.of("broad").state.value == "ready"
            await pinned(scheduler, "broad", pin)
    finally:
        await scheduler.close()


async def test_pressure_takes_pins_and_gives_them_back(broad: ModelSpec) -> None:
    """A ceiling of half the pin, then of nothing, then none to speak of."""
    mapped = broad.footprint.mapped_bytes
    scheduler = Scheduler({"broad": broad}, broad.charged_bytes + mapped, 8)
    try:
        await scheduler.load("broad")
        for ceiling in (4 * MIB, 0, 8 * MIB):
            scheduler.limit_pins(ceiling)
            await pinned(scheduler, "broad", ceiling)
            assert scheduler.status().used_bytes <= broad.charged_bytes + ceiling + 4096
    finally:
        await scheduler.close()


async def test_a_worker_that_dies_while_it_pins_frees_its_pin(broad: ModelSpec) -> None:
    """The ledger forgets the pin with the worker."""
    mapped = broad.footprint.mapped_bytes
    scheduler = Scheduler({"broad": broad}, broad.charged_bytes + mapped, 8)
    try:
        async with asyncio.timeout(30), scheduler.lease("broad") as lease:
            await lease._engine.kill()
            while scheduler.status().used_bytes:
                await scheduler.news()
    finally:
        await scheduler.close()


async def test_closing_does_not_wait_for_a_pin(broad: ModelSpec) -> None:
    """A worker stopped in the middle of pinning is ended, not waited for."""
    mapped = broad.footprint.mapped_bytes
    scheduler = Scheduler({"broad": broad}, broad.charged_bytes + mapped, 8)
    await scheduler.load("broad")
    pid = scheduler.status().of("broad").pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    scheduler.limit_pins(0)
    await scheduler.close()
    assert not psutil.pid_exists(pid)
