"""A small model's completions while a larger one decodes in another worker, at each niceness.

The larger is a synthetic model of a 1B geometry at Q4_K, mapped. Both workers start anew for every
niceness in every turn. For the small model: 32-token completions. For the larger: tokens a second
alone, while programs of another session keep all cores busy, and beside the small one. Samples that
other programs disturbed are taken again. ADR 15 draws the conclusion.
"""

import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

from quiet import Quiet
from samples import ENDLESS, p99
from starter import starter_spec

from modelrouter import synthetic
from modelrouter.config import ConfigSource, load
from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import Niceness
from modelrouter.generation import Delta, Generation, Piece
from modelrouter.registry import ModelSpec, catalogue

TURNS = 6
COMPLETIONS = 20
TOKENS = 32
SECONDS = 2.0
PATIENCE_SECONDS = 60.0

# The small vocabulary: nearly each of its tokens is a text, which is what is counted.
LARGE = synthetic.Geometry(16, 2048, 8192, heads=32, kv_heads=8, context_length=4096)
LARGE_TOML = """
version = 1
[models.large]
path = "large.gguf"
residency = "mapped"
context = 4096
drafts = "off"
[roles]
code = ["large"]
general = ["large"]
"""
NICENESSES: tuple[Niceness, ...] = get_args(Niceness)
CASES = ("alone", "busy cores", "small model")

numbers = itertools.count()


def large_spec(folder: Path) -> ModelSpec:
    """Write the larger model and return its spec."""
    synthetic.write(folder / "large.gguf", LARGE, "Q4_K")
    path = folder / "models.toml"
    path.write_text(LARGE_TOML)
    return catalogue(load(ConfigSource(path, "--config"))).specs["large"]


class Talker:
    """The larger model, answering without end; it counts its pieces of text, a token each."""

    def __init__(self, engine: Engine) -> None:
        """Begin to talk; `begun` once the first text is there."""
        self.engine = engine
        self.tokens = 0
        self.begun = asyncio.Event()
        self.task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        prompt = (Piece("hello", special=False),)
        while True:
            answer = self.engine.submit(Generation(prompt, ENDLESS))
            async for event in answer:
                if isinstance(event, Delta):
                    self.tokens += 1
                    self.begun.set()

    async def speed(self) -> float:
        """Return the tokens a second over some time to come."""
        tokens, started = self.tokens, time.perf_counter()
        await asyncio.sleep(SECONDS)
        return (self.tokens - tokens) / (time.perf_counter() - started)


@asynccontextmanager
async def talking(spec: ModelSpec, niceness: Niceness) -> AsyncIterator[Talker]:
    """Have the model talk at this niceness, from memory, for the length of a block."""
    engine = await Engine.spawn(spec, niceness)
    await engine.load()
    pinned = await engine.pin(spec.facts.weights_bytes)
    assert pinned.reason is None, pinned.reason  # else it would wait for its disk
    talker = Talker(engine)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):  # a model without words fails, not hangs
            await talker.begun.wait()
        yield talker
    finally:
        talker.task.cancel()
        await engine.kill()


@asynccontextmanager
async def busy_cores() -> AsyncIterator[None]:
    """Keep each core busy with a program of another session, as another terminal's would be."""
    command = (sys.executable, "-c", "while True: pass")
    programs = [
        await asyncio.create_subprocess_exec(*command, start_new_session=True)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            await program.wait()


async def completion_seconds(engine: Engine) -> float:
    """Time one completion of a prompt that is new."""
    started = time.perf_counter()
    prompt = (Piece(f"def function_{next(numbers)}(x):\n", special=False),)
    async for _ in engine.submit(Generation(prompt, ENDLESS, TOKENS)):
        pass
    return time.perf_counter() - started


async def completions(spec: ModelSpec, quiet: Quiet) -> list[float]:
    """Return the seconds of some completions by a fresh worker of the small model."""
    engine = await Engine.start(spec)
    await completion_seconds(engine)
    seconds = [await quiet.sample(lambda: completion_seconds(engine)) for _ in range(COMPLETIONS)]
    await engine.stop()
    return seconds


@asynccontextmanager
async def completing(spec: ModelSpec) -> AsyncIterator[None]:
    """Have the small model complete one prompt after the other for the length of a block."""

    async def complete_on() -> None:
        while True:
            await completion_seconds(engine)

    engine = await Engine.start(spec)
    await completion_seconds(engine)
    task = asyncio.create_task(complete_on())
    yield
    task.cancel()
    await engine.kill()


class Results:
    """The small model's seconds, and the larger one's tokens a second, for each niceness."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.quiet = Quiet()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.speeds: dict[tuple[str, str], list[float]] = defaultdict(list)

    async def turn(self, small: ModelSpec, large: ModelSpec) -> None:
        """Measure everything once."""
        self.seconds["(none)"] += await completions(small, self.quiet)
        for niceness in NICENESSES:
            async with talking(large, niceness) as talker:
                speeds = [await self.quiet.sample(talker.speed)]
                async with busy_cores():
                    speeds.append(await self.quiet.sample(talker.speed))
                async with completing(small):
                    speeds.append(await self.quiet.sample(talker.speed))
                self.seconds[niceness] += await completions(small, self.quiet)
            for case, speed in zip(CASES, speeds, strict=True):
                self.speeds[niceness, case].append(speed)

    def show(self) -> None:
        """Print a line for each niceness."""
        print("larger at   small: median    p99    max   larger beside: " + "  ".join(CASES))
        for name, seconds in self.seconds.items():
            seconds.sort()
            median = statistics.median(seconds)
            line = f"{name:9} {median:16.3f} {p99(seconds):6.3f} {seconds[-1]:6.3f}"
            if name != "(none)":
                medians = (statistics.median(self.speeds[name, case]) for case in CASES)
                line += " " * 8 + "".join(f"{speed:13.1f}" for speed in medians)
            print(line)
        print(f"disturbed: {self.quiet.disturbed} of {self.quiet.samples} samples", flush=True)


async def measure(small: ModelSpec, large: ModelSpec) -> None:
    """Take turns; the figures so far are shown after each."""
    results = Results()
    for turn in range(1, TURNS + 1):
        await results.turn(small, large)
        print(f"after {turn} of {TURNS} turns of {COMPLETIONS} completions of {TOKENS} tokens:")
        results.show()


def main() -> None:
    """Write the larger model, measure, print."""
    small = starter_spec(slots=1, context=512)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(small, large_spec(Path(folder))))


main()
