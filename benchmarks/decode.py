"""Batched decoding: our whole engine beside the barest loop over llama_decode, in one run.

The yardstick decodes a fixed token for N sequences and does nothing else: no sampling, no text, no
process boundary (what llama.cpp's own llama-batched-bench times). Ours is the worker process with
its sampler, stop strings, UTF-8 and socket. Both use the same library, weights, threads and
context, and take turns; the figure is the median of the turns' ratios.
"""

import asyncio
import statistics
import time

import llama_cpp.llama_cpp as lib
from starter import starter_spec

from modelrouter.engine.backend import Row
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.process import Engine
from modelrouter.engine.spawning import load_message
from modelrouter.generation import Done, Generation, Piece
from modelrouter.types import Sampling

STEPS = 64
TURNS = 7
COUNTS = (1, 4, 8)
PROMPTS = [
    f"<|im_start|>user\nWrite a long story about {hero}.<|im_end|>\n<|im_start|>assistant\n"
    for hero in ("a fox", "the sea", "two towers", "rain", "an owl", "a road", "snow", "a clock")
]


def bare_tokens_per_second(backend: LlamaBackend, count: int) -> float:
    """Decode STEPS passes of one row for each of `count` sequences, straight into llama_decode."""
    prompts = [backend.tokenize([Piece(text, special=True)]) for text in PROMPTS[:count]]
    for seq, tokens in enumerate(prompts):
        backend.keep(seq, 0)
        backend.decode([Row(seq, n, t, n == len(tokens) - 1) for n, t in enumerate(tokens)])
    started = time.perf_counter()
    for step in range(STEPS):
        rows = [Row(seq, len(tokens) + step, 300, True) for seq, tokens in enumerate(prompts)]
        lib.llama_decode(backend._context, backend._batch.filled(rows))
    return STEPS * count / (time.perf_counter() - started)


async def engine_tokens_per_second(engine: Engine, count: int) -> float:
    """Answer `count` prompts at once; their KV is there already, so a turn is decoding."""
    await asyncio.gather(*(_answer(engine, prompt, 1) for prompt in PROMPTS[:count]))
    started = time.perf_counter()
    answers = [_answer(engine, prompt, STEPS) for prompt in PROMPTS[:count]]
    tokens = sum(await asyncio.gather(*answers))
    return tokens / (time.perf_counter() - started)


async def _answer(engine: Engine, prompt: str, max_tokens: int) -> int:
    pieces = (Piece(prompt, special=True),)
    stream = engine.submit(Generation(pieces, Sampling(temperature=0), max_tokens))
    async for event in stream:
        if isinstance(event, Done):
            return event.usage.completion_tokens
    raise RuntimeError("the stream ended without an end")


async def main() -> None:
    """Print a line for each number of sequences."""
    spec = starter_spec(slots=max(COUNTS), context=512)
    backend = LlamaBackend(load_message(spec), lambda _: None)
    engine = await Engine.start(spec)
    print(f"{spec.name}, {TURNS} turns of {STEPS} steps each")
    print("sequences   bare loop   engine      ratio (median)")
    for count in COUNTS:
        bare, ours = [], []
        for _ in range(TURNS):
            bare.append(bare_tokens_per_second(backend, count))
            ours.append(await engine_tokens_per_second(engine, count))
        ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
        medians = statistics.median(bare), statistics.median(ours)
        print(f"{count:9}   {medians[0]:6.1f}/s    {medians[1]:6.1f}/s    {ratio:.3f}")
    await engine.stop()
    backend.close()


asyncio.run(main())
