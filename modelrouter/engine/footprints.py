"""Exact footprints: llama.cpp is asked once what a file would take with its settings.

The parent's side of `probe.py`. What was told is kept on disk, so that a start that knows all its
models pays for one small file. It loads no model and knows no budget.
"""

import dataclasses
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from modelrouter.engine.cores import physical_cores
from modelrouter.engine.protocol import (
    AnyMessage,
    Failed,
    Planned,
    ProtocolError,
    frame,
    messages,
)
from modelrouter.engine.spawning import load_message
from modelrouter.memory import store
from modelrouter.memory.footprint import Footprint, computing_bytes, running_bytes
from modelrouter.registry import Catalogue, ModelSpec

log = logging.getLogger(__name__)

PROBE = (sys.executable, "-P", "-m", "modelrouter.engine.probe")

PROBES_SECONDS = 10.0
"""How long all probes of a start may take together. One takes 0.3 s; an ill disk must not hold up a
start for longer.
"""

FORMAT = 4
"""Part of every key: raise it where the same settings come to other footprints than before."""


def measured(found: Catalogue, seconds: float = PROBES_SECONDS) -> Catalogue:
    """Return the catalogue with llama.cpp's own account of all that its models could run with.

    Where it cannot be had (a probe died, or was not done in the `seconds` that all have) the
    formula's stays, and says so by its `origin`; the next start asks again. To be called before
    the specs are allotted: each model's is the widest of its ladder again.
    """
    path = Path(user_cache_path("modelrouter"), "footprints", "footprints.json")
    library = _library()
    known = store.read(path)
    unknown = [
        # the narrowest first: what a narrow context leaves behind, a wide one uses again
        [spec for spec in reversed(ladder) if _key(spec, library) not in known]
        for ladder in found.ladders.values()
    ]
    if any(unknown):
        answers = _ask_all(unknown, time.monotonic() + seconds)
        known |= {_key(spec, library): footprint for spec, footprint in answers}
        store.write(path, known)

    def told(spec: ModelSpec) -> ModelSpec:
        return dataclasses.replace(spec, told=known.get(_key(spec, library)))

    return found.of_ladders(
        {name: tuple(map(told, ladder)) for name, ladder in found.ladders.items()}
    )


def _library() -> str:
    """Name the llama.cpp that is installed: another build of a version may repack other weights."""
    package = find_spec("llama_cpp")
    if package is None or package.origin is None:
        return "none"
    return f"{version('llama-cpp-python')} of {Path(package.origin).stat().st_mtime_ns}"


def _key(spec: ModelSpec, library: str) -> str:
    """Return what tells apart all that comes to different footprints; where the file lies, and how
    many threads there are, does not.
    """
    load = load_message(dataclasses.replace(spec, threads=1))
    load = dataclasses.replace(load, path="", weights=(), threads=0, window_bytes=0)
    parts = [FORMAT, library, spec.facts.fingerprint, dataclasses.asdict(load)]
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _ask_all(
    ladders: Sequence[Sequence[ModelSpec]], deadline: float
) -> list[tuple[ModelSpec, Footprint]]:
    """Ask about all of them, as many files at a time as there are cores; return what was told."""
    with ThreadPoolExecutor(physical_cores()) as pool:
        asked = pool.map(lambda ladder: _ask(ladder, deadline), filter(None, ladders))
        return [pair for told in asked for pair in told]


def _ask(ladder: Sequence[ModelSpec], deadline: float) -> list[tuple[ModelSpec, Footprint]]:
    """Return a model's specs with what llama.cpp tells of them, as far as it does."""
    try:
        answers = _probe(ladder, deadline)
    except (OSError, subprocess.TimeoutExpired, ProtocolError) as error:
        log.info("%s: the formula counts its memory: %s", ladder[0].name, error)
        return []
    told = [
        (spec, _footprint(spec, answer))
        for spec, answer in zip(ladder, answers, strict=False)
        if isinstance(answer, Planned)
    ]
    if len(told) < len(ladder):
        reasons = [answer.message for answer in answers if isinstance(answer, Failed)]
        reason = reasons or "the probe ended early"
        log.info("%s: the formula counts its memory: %s", ladder[0].name, reason)
    return told


def _probe(ladder: Sequence[ModelSpec], deadline: float) -> list[AnyMessage]:
    done = subprocess.run(
        PROBE,
        input=b"".join(frame(load_message(spec)) for spec in ladder),
        capture_output=True,
        timeout=max(0.0, deadline - time.monotonic()),
        check=False,
    )
    return list(messages(done.stdout))


def _footprint(spec: ModelSpec, plan: Planned) -> Footprint:
    """Bring llama.cpp's account of its buffers to what a worker takes as it decodes."""
    is_mapped = not spec.is_resident
    running = running_bytes(spec.facts, spec.context_tokens, spec.slots)
    return Footprint(
        plain_bytes=0 if is_mapped else plan.plain_bytes,
        repacked_bytes=plan.repacked_bytes,
        kv_bytes=plan.kv_bytes,
        compute_bytes=computing_bytes(spec.facts, spec.batch_rows, plan.compute_bytes),
        output_bytes=plan.output_bytes,
        worker_bytes=plan.worker_bytes + running,
        mapped_bytes=spec.facts.weights_bytes if is_mapped else 0,
        origin="llama.cpp",
    )
