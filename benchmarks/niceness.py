"""A small model's completions while a larger one decodes in another worker: which niceness for it.

The larger is a synthetic model of a 1B geometry at Q4_K, mapped. Both workers start anew in every
turn; the claims take turns. For the small model: median and 99th percentile of 32-token
completions; for the larger: tokens a second, meanwhile, alone, and beside a busy program of
somebody else's. ADR 15 draws the conclusion.
"""

import asyncio
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import get_args

from starter import starter_spec

from modelrouter import synthetic
from modelrouter.config import ConfigSource, load
from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import Niceness
from modelrouter.registry import ModelSpec, catalogue
from modelrouter.types import Delta, Piece, Sampling

TURNS = 8
COMPLETIONS = 12
TOKENS = 32
SECONDS = 4.0
LARGE = synthetic.Geometry(16, 2048, 8192, 32, 8, 4096, 128_256, tied_embeddings=True)
LARGE_TOML = """
version = 1
[models.large]
path = "large.gguf"
residency = "mapped"
context = 4096
[roles]
code = ["large"]
general = ["large"]
"""
ENDLESS = Sampling(temperature=0, frequency_penalty=-2, presence_penalty=-2)
CLAIMS: tuple[Niceness, ...] = get_args(Niceness)

numbers = itertools.count()


def large_spec(folder: Path) -> ModelSpec:
    """Write the larger model and return its spec."""
    synthetic.write(folder / "large.gguf", LARGE, "Q4_K")
    path = folder / "models.toml"
    path.write_text(LARGE_TOML)
    return catalogue(load(ConfigSource(path, "--config"))).specs["large"]


class Talker:
    """A worker that answers without end, and how many tokens it has got out."""

    def __init__(self, engine: Engine) -> None:
        """Begin to talk; `begun` once the first token is there."""
        self.engine = engine
        self.tokens = 0
        self.begun = asyncio.Event()
        self._task = asyncio.create_task(self._talk())

    @classmethod
    async def start(cls, spec: ModelSpec, niceness: Niceness) -> "Talker":
        """Load the model at this niceness and have it talk."""
        engine = await Engine.spawn(spec, niceness)
        await engine.load()
        talker = cls(engine)
        await talker.begun.wait()
        return talker

    async def _talk(self) -> None:
        while True:
            prompt = [Piece("hello", special=False)]
            async for event in self.engine.submit(
                prompt, max_tokens=None, stop=(), sampling=ENDLESS
            ):
                self.tokens += isinstance(event, Delta)
                self.begun.set()

    async def speed(self, seconds: float) -> float:
        """Return the tokens a second over some time to come."""
        tokens, started = self.tokens, time.perf_counter()
        await asyncio.sleep(seconds)
        return (self.tokens - tokens) / (time.perf_counter() - started)

    async def stop(self) -> None:
        """End the worker."""
        self._task.cancel()
        await self.engine.kill()


async def completion_seconds(engine: Engine) -> float:
    """Time one completion of a prompt that is new."""
    started = time.perf_counter()
    stream = engine.submit(
        [Piece(f"def function_{next(numbers)}(x):\n", special=False)],
        max_tokens=TOKENS,
        stop=(),
        sampling=ENDLESS,
    )
    async for _ in stream:
        pass
    return time.perf_counter() - started


async def small_beside(small: ModelSpec, talker: Talker | None) -> tuple[list[float], float]:
    """Return the small model's seconds, and the talker's tokens a second meanwhile."""
    engine = await Engine.start(small)
    await completion_seconds(engine)
    tokens, started = talker.tokens if talker else 0, time.perf_counter()
    seconds = [await completion_seconds(engine) for _ in range(COMPLETIONS)]
    spoken = (talker.tokens if talker else 0) - tokens
    speed = spoken / (time.perf_counter() - started)
    await engine.stop()
    return seconds, speed


async def speed_beside_busy_program(talker: Talker) -> float:
    """Return the talker's tokens a second while somebody else's program keeps a core busy."""
    busy = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "while True: pass", start_new_session=True
    )
    speed = await talker.speed(SECONDS)
    busy.kill()
    await busy.wait()
    return speed


async def measure(small: ModelSpec, large: ModelSpec) -> None:
    """Take turns, then print a line for each niceness."""
    seconds: dict[str, list[float]] = defaultdict(list)
    speeds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(TURNS):
        seconds["none"] += (await small_beside(small, None))[0]
        for niceness in CLAIMS:
            talker = await Talker.start(large, niceness)
            speeds[niceness, "alone"].append(await talker.speed(SECONDS))
            speeds[niceness, "busy"].append(await speed_beside_busy_program(talker))
            times, speed = await small_beside(small, talker)
            seconds[niceness] += times
            speeds[niceness, "beside"].append(speed)
            await talker.stop()
    print("larger at   small: median     p99     max   larger: alone  busy program  beside small")
    for name, times in seconds.items():
        times.sort()
        high = times[math.ceil(0.99 * len(times)) - 1]
        line = f"{name:9}   {statistics.median(times):12.3f} {high:7.3f} {times[-1]:7.3f}"
        if name != "none":
            for case, width in (("alone", 16), ("busy", 14), ("beside", 14)):
                line += f"{statistics.median(speeds[name, case]):{width}.1f}"
        print(line)


def main() -> None:
    """Write the larger model, measure, print."""
    small = starter_spec(slots=1, context=512)
    print(f"{TURNS} turns of {COMPLETIONS} completions of {TOKENS} tokens; seconds and tokens/s")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(small, large_spec(Path(folder))))


main()
