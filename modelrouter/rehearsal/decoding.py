"""How fast llama.cpp works off weights of a type: a small model of random weights, decoded.

On few cores that is less than memory gives: the weights have to be multiplied as well.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from modelrouter import synthetic
from modelrouter.engine.answer_stream import Stream
from modelrouter.engine.process import Engine
from modelrouter.errors import EngineError
from modelrouter.generation import Done, Generation, Piece
from modelrouter.gguf import read_facts
from modelrouter.memory.pace import touched_bytes
from modelrouter.registry import ModelSpec
from modelrouter.synthetic import Geometry
from modelrouter.types import Sampling

LAYER = Geometry(1, 4096, 11_008, heads=32, kv_heads=8, context_length=256)
"""A layer of a 7B: wide enough that the weights are most of the work."""

LEAST_BYTES = 256 * 2**20
"""More than the caches of all but the largest servers hold."""

TOKENS = 24
MOST_ASKED = 16

Ask: TypeAlias = Callable[[str, int], Awaitable[Done]]
"""Has a prompt answered with so many tokens at most, and returns the answer's end."""


def decoding_bandwidth(weights_type: str, threads: int) -> float:
    """Return the bytes a second of such weights that llama.cpp reads and multiplies as it decodes.

    The file lies in the system's temporary folder meanwhile. CapacityError where it does not fit
    there, EngineError where the worker fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "decoding.gguf")
        layers = -(-LEAST_BYTES // synthetic.planned_bytes(LAYER, weights_type))
        synthetic.write(path, replace(LAYER, layers=layers), weights_type)
        spec = _spec(path, threads)
        return touched_bytes(spec.facts) / asyncio.run(_seconds_a_token(spec))


def _spec(path: Path, threads: int) -> ModelSpec:
    facts = read_facts(path)
    return ModelSpec(
        name=f"the measurement of {facts.file_type}",
        facts=facts,
        is_resident=True,
        context_tokens=LAYER.context_length,
        slots=1,
        batch_rows=32,
        kv_type="f16",
        threads=threads,
        sampling=Sampling(temperature=0),
    )


async def _seconds_a_token(spec: ModelSpec) -> float:
    engine = await Engine.start(spec)

    async def ask(text: str, max_tokens: int) -> Done:
        pieces = (Piece(text, special=False),)
        return await ended(engine.submit(Generation(pieces, spec.sampling, max_tokens)))

    try:
        passes, seconds = await decoded(ask, TOKENS, "")
        return seconds / passes
    finally:
        await engine.stop()


async def ended(stream: Stream) -> Done:
    """Let the answer come to its end and return it."""
    async for event in stream:
        if isinstance(event, Done):
            return event
    raise EngineError("an answer had no end")  # unreachable: a stream ends with Done or raises


async def decoded(ask: Ask, tokens: int, begin: str) -> tuple[int, float]:
    """Ask until so many tokens have been decoded; return the passes that took, and their seconds.

    Prompts begin with `begin`, and no two are the same: a model of random weights may end an answer
    at once, and would do so again. EngineError where one gives nothing but ends.
    """
    passes, seconds = 0, 0.0
    for number in range(MOST_ASKED):
        done = await ask(f"{begin}{number}", tokens - passes + 1)
        # The first token comes with the prompt; an end that the model chose takes a pass as well.
        passes += done.usage.completion_tokens - (done.finish == "length")
        seconds += done.timings.decode_seconds
        if passes >= tokens:
            break
    if not passes:
        raise EngineError(f"the model ended {MOST_ASKED} answers at once")
    return passes, seconds
