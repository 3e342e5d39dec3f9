"""Decoding beside a program that keeps one core busy: libgomp's own spinning against ours.

Whole engines, started in turns with the default spin count and with ours, alone and in company; the
figures are medians of tokens a second. ADR 14 says why it matters.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time

from starter import starter_spec

from modelrouter.engine.process import Engine
from modelrouter.engine.spawning import ENVIRONMENT
from modelrouter.generation import Done, Generation, Piece
from modelrouter.registry import ModelSpec
from modelrouter.types import Sampling

TURNS = 5
MAX_TOKENS = 64
MAX_SECONDS = 4.0
DEFAULT_SPINS = "300000"
PROMPT = "<|im_start|>user\nWrite a long story about a fox.<|im_end|>\n<|im_start|>assistant\n"


async def tokens_per_second(spec: ModelSpec, spins: str) -> float:
    """Start an engine with this spin count, and decode for a while."""
    os.environ["GOMP_SPINCOUNT"] = spins
    engine = await Engine.start(spec)
    prompt = (Piece(PROMPT, special=True),)
    stream = engine.submit(Generation(prompt, Sampling(temperature=0), MAX_TOKENS))
    started, texts = 0.0, 0
    async for event in stream:
        started = started or time.perf_counter()
        texts += not isinstance(event, Done)
        if time.perf_counter() - started > MAX_SECONDS:
            break
    taken = time.perf_counter() - started
    await engine.stop()
    return texts / taken


def main() -> None:
    """Print a line for each company."""
    spec = starter_spec(slots=1, context=512)
    counts = {"libgomp": DEFAULT_SPINS, "ours": ENVIRONMENT["GOMP_SPINCOUNT"]}
    print("busy programs   libgomp's spinning   ours")
    for busy in (0, 1):
        company = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)
        ]
        speeds: dict[str, list[float]] = {name: [] for name in counts}
        for _ in range(TURNS):
            for name, spins in counts.items():
                speeds[name].append(asyncio.run(tokens_per_second(spec, spins)))
        for process in company:
            process.kill()
            process.wait()
        theirs, ours = (statistics.median(speeds[name]) for name in counts)
        print(f"{busy:13}   {theirs:13.1f} tok/s   {ours:.1f} tok/s   ratio {ours / theirs:.1f}")


main()
