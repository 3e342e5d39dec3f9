"""Starting a worker: its command, its environment, and the message that says what to load.

It knows the model's spec and nothing of what the worker will answer.
"""

import asyncio
import os
import socket
import sys

from modelrouter.engine.cores import physical_cores
from modelrouter.engine.protocol import Load, Niceness
from modelrouter.engine.weights import spans
from modelrouter.errors import LoadFailed
from modelrouter.registry import ModelSpec

WORKER = (sys.executable, "-P", "-m", "modelrouter.engine.worker")
"""-P: a file named json.py in the user's folder must not become part of the worker."""

BACKGROUND: Niceness = "idle"
"""A mapped model's claim to the CPU. ADR 15 has the measurements."""

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
"""llama.cpp's threads meet hundreds of times a token. By default each spins for up to 300,000 turns
when another is late, and one busy program beside it on the box costs 99% of the speed; after 1,000
turns a sleep is cheaper. ADR 14 has the measurements.
"""


async def spawn_worker(name: str, connection: socket.socket) -> asyncio.subprocess.Process:
    """Start a worker at the other end of `connection`; LoadFailed where the system cannot."""
    try:
        return await asyncio.create_subprocess_exec(
            *WORKER,
            str(connection.fileno()),
            pass_fds=[connection.fileno()],
            env=ENVIRONMENT | os.environ,  # whoever sets it for themselves knows better
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # The terminal's Ctrl-C must not reach it. Not a new session: Linux shares the CPU out
            # among sessions first, and a priority then says nothing to the other workers (ADR 15).
            process_group=0,
        )
    except OSError as error:
        raise LoadFailed(f"{name}: no worker could be started: {error}") from error


def threads_of(spec: ModelSpec) -> int:
    """Return how many threads a model's worker computes with."""
    return spec.threads or physical_cores()


def load_message(spec: ModelSpec, niceness: Niceness | None = None) -> Load:
    """Return the first message; `niceness` None gives a mapped model BACKGROUND."""
    return Load(
        path=str(spec.facts.path),
        whole=spec.is_resident,
        context_tokens=spec.context_tokens,
        slots=spec.slots,
        batch_rows=spec.batch_rows,
        stored=spec.stored,
        threads=threads_of(spec),
        weights=() if spec.is_resident else spans(spec.facts),
        niceness=niceness or ("normal" if spec.is_resident else BACKGROUND),
        window_bytes=spec.window_bytes,
        logit_rows=spec.logit_rows,
    )
