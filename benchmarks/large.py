"""A 65B's geometry on a box with less memory than its file: plain llama.cpp and ours, in one run.

It writes a synthetic LLaMA-65B at Q4_K (36.7 GB; `--layers 12` writes a smaller one of the same
layers), then takes turns: the same library and threads with a plain mmap, and our worker with
`--pin` GB of it pinned. Then 8 requests at once, and the small model's completions beside it.
`--limit` puts all of it under a memory limit of the kernel's, so that a small file is larger than
memory too (root, or a systemd scope).

The file is removed at the end, unless `--keep`; one that is there already is used.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import plain_mmap
import psutil
from disk import Disk
from samples import ENDLESS, p99
from starter import starter_spec

from modelrouter import synthetic
from modelrouter.config import ConfigSource, load
from modelrouter.engine.process import Engine
from modelrouter.engine.protocol import frame
from modelrouter.engine.spawning import load_message
from modelrouter.generation import Done, Generation, Piece
from modelrouter.memory.process import held_bytes, read_bytes
from modelrouter.registry import ModelSpec, catalogue

sys.path.append(str(Path(__file__).parent / "soak"))
from soak_cgroup import memory_group

GB = 10**9
ROWS = 8
COMPLETIONS = 40
SMALL_TOKENS = 32
SLACK_BYTES = 1000 * 2**20
"""What a limit leaves beside the budget: the small model, the libraries, the kernel's own."""

MODELS = """
version = 1
[models.large]
path = {path}
residency = "mapped"
context = 256
slots = {slots}
batch = 32
kv_type = "q8_0"
drafts = "off"
[roles]
code = ["large"]
general = ["large"]
"""


def spec_of(path: Path) -> ModelSpec:
    """Return the large model's spec, through a models.toml like everybody's."""
    toml = path.with_suffix(".toml")
    toml.write_text(MODELS.format(path=json.dumps(str(path)), slots=ROWS))
    return catalogue(load(ConfigSource(toml, "--config"))).specs["large"]


@contextlib.contextmanager
def model_file(folder: Path, layers: int, *, keep: bool) -> Iterator[Path]:
    """Give a file of so many of a 65B's layers; the writer refuses where the disk is too small."""
    geometry = dataclasses.replace(synthetic.GEOMETRIES["llama-65b"], layers=layers)
    path = folder / f"65b-{layers}.gguf"
    if not path.exists() or path.stat().st_size != synthetic.planned_bytes(geometry, "Q4_K"):
        started = time.perf_counter()
        n_bytes = synthetic.write(path, geometry, "Q4_K")
        print(f"wrote {n_bytes / GB:.1f} GB in {time.perf_counter() - started:.0f} s", flush=True)
    try:
        yield path
    finally:
        path.with_suffix(".toml").unlink(missing_ok=True)
        if not keep:
            path.unlink()


class Watch:
    """Looks ten times a second at what our processes hold and what the box has left."""

    def __init__(self) -> None:
        """Begin to look, in a thread."""
        self.peak_bytes = 0
        self.least_available_bytes = psutil.virtual_memory().available
        self._is_over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            held = 0
            for worker in psutil.Process().children():
                with contextlib.suppress(Exception):  # it has just ended
                    held += held_bytes(worker.pid)
            self.peak_bytes = max(self.peak_bytes, held)
            available = psutil.virtual_memory().available
            self.least_available_bytes = min(self.least_available_bytes, available)

    def end(self) -> None:
        """Look no more."""
        self._is_over.set()


async def answer(engine: Engine, text: str, tokens: int) -> Done:
    """Return the end of one answer."""
    job = Generation((Piece(text, special=False),), ENDLESS, tokens)
    *_, end = [event async for event in engine.submit(job)]
    assert isinstance(end, Done)
    return end


async def ours(spec: ModelSpec, pin_bytes: int, tokens: int, disk: Disk) -> Engine:
    """Load and pin as the scheduler does, measure one request alone; return the worker."""
    started = time.perf_counter()
    engine = await Engine.spawn(spec, "normal")
    await engine.load()
    loaded = time.perf_counter() - started
    pinned = await engine.pin(pin_bytes)
    seconds = time.perf_counter() - started
    print(
        f"ours: loaded in {loaded:.2f} s, {pinned.n_bytes / GB:.1f} GB pinned after {seconds:.1f} s"
        f" ({pinned.n_bytes / seconds / GB:.2f} GB/s; the disk {disk.rate():.2f})",
        flush=True,
    )
    await answer(engine, "a", 2)

    async def alone() -> int:
        """One request: its prompt's pass gives the first token."""
        return (await answer(engine, "b", tokens)).usage.completion_tokens

    await measured("ours", engine, alone, spec.facts.weights_bytes - pinned.n_bytes, disk)
    return engine


async def measured(
    what: str, engine: Engine, work: Callable[[], Awaitable[int]], rest: int, disk: Disk
) -> float:
    """Print seconds and bytes a pass of some work, which returns its passes; return the seconds.

    `rest` is W - R, what a pass should read.
    """
    before, cpu = read_bytes(engine.pid) or 0, psutil.Process(engine.pid).cpu_times()
    started = time.perf_counter()
    passes = await work()
    seconds = time.perf_counter() - started
    spent = psutil.Process(engine.pid).cpu_times()
    read = ((read_bytes(engine.pid) or 0) - before) / passes
    print(
        f"{what}: {seconds / passes:.2f} s a pass over {passes}, {read / GB:.2f} GB read a pass = "
        f"{read / rest:.3f} of W - R; {read * passes / seconds / GB:.2f} GB/s, "
        f"the disk {disk.rate():.2f}; CPU {(spent.user - cpu.user) / passes:.1f} s user, "
        f"{(spent.system - cpu.system) / passes:.2f} s system a pass = "
        f"{(spent.system - cpu.system) / max(read * passes / GB, 1e-3):.3f} s system a GB",
        flush=True,
    )
    return seconds / passes


async def together(engine: Engine, rest: int, tokens: int, disk: Disk) -> None:
    """Measure ROWS requests at once, which ride the same passes."""

    async def all_of_them() -> int:
        await asyncio.gather(*(answer(engine, chr(97 + n), tokens) for n in range(ROWS)))
        return tokens

    seconds = await measured(f"{ROWS} at once", engine, all_of_them, rest, disk)
    print(f"{ROWS} at once: {seconds / ROWS:.2f} s a token", flush=True)


async def completions(engine: Engine) -> list[float]:
    """Return the sorted seconds of the small model's completions."""
    seconds = []
    for number in range(COMPLETIONS):
        started = time.perf_counter()
        await answer(engine, f"def function_{number}(x):\n", SMALL_TOKENS)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)


async def beside(large: Engine, small_spec: ModelSpec) -> None:
    """Measure the small model alone and while the large one decodes."""
    small = await Engine.start(small_spec)
    await completions(small)
    alone = await completions(small)
    work = asyncio.create_task(answer(large, "c", 200))
    await asyncio.sleep(2)
    crowded = await completions(small)
    work.cancel()
    await small.stop()
    for name, seconds in (("alone", alone), ("beside", crowded)):
        print(f"small {name}: p50 {statistics.median(seconds):.3f} s, p99 {p99(seconds):.3f}")
    print(
        f"small: p50 {statistics.median(crowded) / statistics.median(alone):.2f}x, "
        f"p99 {p99(crowded) / p99(alone):.2f}x of alone",
        flush=True,
    )


async def measure(path: Path, arguments: argparse.Namespace) -> None:
    """Take turns, then the rest."""
    disk, spec, watch = Disk(path), spec_of(path), Watch()
    pin_bytes = int(arguments.pin * GB)
    budget = spec.charged_bytes + pin_bytes
    print(
        f"W = {spec.facts.weights_bytes / GB:.2f} GB, R = {pin_bytes / GB:.2f} GB, budget "
        f"{budget / GB:.2f} GB; the disk reads {disk.rate():.2f} GB/s; "
        f"read_ahead_kb {disk.read_ahead_kb()}",
        flush=True,
    )
    small_spec = starter_spec(slots=1, context=512)
    for turn in range(arguments.turns):
        disk.forget()
        command = [sys.executable, plain_mmap.__file__, str(arguments.plain_tokens)]
        message = frame(dataclasses.replace(load_message(spec), weights=()))
        await asyncio.to_thread(subprocess.run, command, input=message, check=True)
        disk.forget()
        engine = await ours(spec, pin_bytes, arguments.tokens, disk)
        if turn < arguments.turns - 1:
            await engine.stop()
    rest = spec.facts.weights_bytes - engine.pinned_bytes
    await together(engine, rest, arguments.together_tokens, disk)
    await engine.stop()
    engine = await Engine.start(spec)  # as the scheduler starts it, giving way
    await engine.pin(pin_bytes)
    await beside(engine, small_spec)
    await engine.kill()
    watch.end()
    small_bytes = small_spec.charged_bytes
    print(
        f"most held by all workers: {watch.peak_bytes / GB:.2f} GB of "
        f"{(budget + small_bytes) / GB:.2f}; "
        f"least available on the box: {watch.least_available_bytes / GB:.2f} GB"
    )


def main() -> None:
    """Read the arguments, make the file, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--pin", type=float, default=17.5, help="GB to be pinned")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=6)
    parser.add_argument("--plain-tokens", type=int, default=4)
    parser.add_argument("--together-tokens", type=int, default=4)
    parser.add_argument("--limit", action="store_true", help="put it all under a memory limit")
    parser.add_argument("--keep", action="store_true", help="leave the file there")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(
            model_file(arguments.folder, arguments.layers, keep=arguments.keep)
        )
        if arguments.limit:
            group = stack.enter_context(memory_group())
            group.limit(int(arguments.pin * GB) + spec_of(path).charged_bytes + SLACK_BYTES)
            home = Path(group.path.parent, "cgroup.procs")
            stack.callback(home.write_text, str(os.getpid()))
            (group.path / "cgroup.procs").write_text(str(os.getpid()))
        asyncio.run(measure(path, arguments))


main()
