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
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from modelrouter.engine.cores import physical_cores
from modelrouter.engine.protocol import HEADER, Failed, Planned, ProtocolError, frame, parse
from modelrouter.engine.spawning import load_message
from modelrouter.memory import store
from modelrouter.memory.footprint import Footprint, computing_bytes, running_bytes
from modelrouter.registry import Catalogue, ModelSpec

log = logging.getLogger(__name__)

PROBE = (sys.executable, "-P", "-m", "modelrouter.engine.probe")

PROBES_SECONDS = 10.0
"""How long all probes of a start may take together. One takes 0.2 s; an ill disk must not hold up a
start for longer.
"""

FORMAT = 1
"""Part of every key: raise it where the same settings come to other footprints than before."""


def measured(found: Catalogue, seconds: float = PROBES_SECONDS) -> Catalogue:
    """Return the catalogue with llama.cpp's own account of every model.

    Where it cannot be had (a probe died, or was not done in the `seconds` that all have) the
    formula's stays, and says so by its `origin`; the next start asks again.
    """
    path = Path(user_cache_path("modelrouter"), "footprints", "footprints.json")
    library = _library()
    specs = [spec for ladder in found.ladders.values() for spec in ladder]
    known = store.read(path)
    asked = {_key(spec, library): spec for spec in specs}
    unknown = {key: spec for key, spec in asked.items() if key not in known}
    if unknown:
        known |= _ask_all(unknown, time.monotonic() + seconds)
        store.write(path, known)

    def told(spec: ModelSpec) -> ModelSpec:
        return dataclasses.replace(spec, footprint=known.get(_key(spec, library), spec.footprint))

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
    load = dataclasses.replace(load_message(spec), path="", weights=(), threads=0)
    settings = dataclasses.asdict(load)
    parts = [FORMAT, library, spec.facts.fingerprint, settings]
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _ask_all(specs: Mapping[str, ModelSpec], deadline: float) -> dict[str, Footprint]:
    """Ask about all of them, as many at a time as there are cores; only answers come back."""
    with ThreadPoolExecutor(physical_cores()) as pool:
        answers: Iterable[Footprint | None] = pool.map(
            lambda spec: _ask(spec, deadline), specs.values()
        )
        return {key: answer for key, answer in zip(specs, answers, strict=True) if answer}


def _ask(spec: ModelSpec, deadline: float) -> Footprint | None:
    try:
        done = subprocess.run(
            PROBE,
            input=frame(load_message(spec)),
            capture_output=True,
            timeout=max(0.0, deadline - time.monotonic()),
            check=False,
        )
        answer = parse(done.stdout[HEADER.size :])
    except (OSError, subprocess.TimeoutExpired, ProtocolError) as error:
        log.info("%s: the formula counts its memory: %s", spec.name, error)
        return None
    if isinstance(answer, Planned):
        return _footprint(spec, answer)
    reason = answer.message if isinstance(answer, Failed) else type(answer).__name__
    log.info("%s: the formula counts its memory: %s", spec.name, reason)
    return None


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
        mapped_bytes=plan.plain_bytes if is_mapped else 0,
        origin="llama.cpp",
    )
