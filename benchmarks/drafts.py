"""Drafts by prompt lookup: passes and seconds a token with and without them, in one run.

The starter model rewrites code, and tells a story, in which there is nothing to copy. Its passes
are timed as they are (weights in memory, where rows cost), and counted as if rows were free
(weights from a disk): the batcher is told that each pass takes a second. The texts must be equal.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from starter import starter_spec

from modelrouter.engine.batcher import Batcher
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Finished, Generate, Text
from modelrouter.engine.spawning import load_message
from modelrouter.generation import Generation, Piece
from modelrouter.types import Sampling

TURNS = 5
TOKENS = 160
CODE = """\
def area_of_circle(radius):
    return 3.14159 * radius * radius

def area_of_square(side):
    return side * side

def area_of_rectangle(width, height):
    return width * height

def area_of_triangle(base, height):
    return base * height / 2
"""
TASKS = {
    "rewrite code": f"Add a docstring to each function of this code:\n```python\n{CODE}```",
    "tell a story": "Write a long story about a fox and the sea.",
}
Clock = Callable[[], float]


@dataclass
class Run:
    """One answer: what it said, and what it took."""

    text: str
    passes: int
    seconds: float
    end: Finished


def answer(backend: LlamaBackend, question: str, clock: Clock) -> Run:
    """Answer greedily; the time begins with the first token."""
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    generation = Generation((Piece(prompt, special=True),), Sampling(temperature=0), TOKENS)
    batcher = Batcher(backend, clock)
    batcher.submit(Generate(0, generation))
    text, passes, started = "", 0, 0.0
    while True:
        events = batcher.commit(decoded=backend.decode(batcher.plan()))
        passes += 1
        started = started or time.perf_counter()
        text += "".join(event.text for event in events if isinstance(event, Text))
        if events and isinstance(end := events[-1], Finished):
            return Run(text, passes, time.perf_counter() - started, end)


def free_rows() -> Clock:
    """Return a clock by which every pass takes equally long."""
    ticks = count()
    return lambda: float(next(ticks))


def main() -> None:
    """Print a line for each task and each way to answer it."""
    spec = starter_spec(slots=1, context=1024)
    plain = LlamaBackend(load_message(spec), lambda _: None)
    drafting = LlamaBackend(load_message(replace(spec, logit_rows=16)), lambda _: None)
    print("| task | drafts | tokens | passes a token | drafted | right | ms a token | times |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for task, question in TASKS.items():
        ways: dict[str, Callable[[], Run]] = {
            "off": lambda q=question: answer(plain, q, time.perf_counter),
            "on, rows as they are": lambda q=question: answer(drafting, q, time.perf_counter),
            "on, rows free": lambda q=question: answer(drafting, q, free_rows()),
        }
        turns = [{name: way() for name, way in ways.items()} for _ in range(TURNS)]
        assert len({run.text for turn in turns for run in turn.values()}) == 1
        for name in ways:
            print(line(task, name, [turn[name] for turn in turns], [t["off"] for t in turns]))
    plain.close()
    drafting.close()


def line(task: str, name: str, runs: list[Run], plain: list[Run]) -> str:
    """Return one line of the table, with medians."""
    usage = runs[-1].end.usage
    tokens = usage.completion_tokens
    passes = statistics.median(run.passes for run in runs) / tokens
    seconds = statistics.median(run.seconds for run in runs) / tokens
    ratio = statistics.median(off.seconds / on.seconds for off, on in zip(plain, runs, strict=True))
    return (
        f"| {task} | {name} | {tokens} | {passes:.2f} | {usage.drafted_tokens} | "
        f"{usage.accepted_tokens} | {1000 * seconds:.1f} | {ratio:.2f} |"
    )


main()
