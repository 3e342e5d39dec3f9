"""A worker's place in line: for the CPU, and before the kernel's killer when memory runs out.

It only ever asks for less than it has, which needs no privilege. What the system refuses all the
same is returned in words. It knows no model and no other worker.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from modelrouter.engine.protocol import Load, Niceness

OOM_MAPPED = 800
OOM_RESIDENT = 300
"""What the killer adds to a worker's own memory, in thousandths of the machine's: a mapped model is
the first to go, then a resident one, and the router after all of them.
"""

NICEST = 19

OOM_FILE = Path("/proc/self/oom_score_adj")


def take_place(load: Load, oom_file: Path = OOM_FILE) -> tuple[str, ...]:
    """Step back as the message asks; return what was refused, in words.

    For the CPU, the calling thread and those it starts from now on.
    """
    refusals: list[str] = []
    with _noting(refusals, f"{oom_file} cannot be raised"):
        _raise_oom_score(oom_file, OOM_RESIDENT if load.whole else OOM_MAPPED)
    with _noting(refusals, f"the niceness {load.niceness!r} cannot be taken"):
        _give_way(load.niceness)
    return tuple(refusals)


@contextlib.contextmanager
def _noting(refusals: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        refusals.append(f"{what}: {error.strerror}")


def _raise_oom_score(file: Path, score: int) -> None:
    """Raise it, never lower it: a container may have set more, and lowering needs a privilege."""
    if int(file.read_text()) < score:
        file.write_text(str(score))


def _give_way(niceness: Niceness) -> None:
    if niceness == "idle" and hasattr(os, "SCHED_IDLE"):  # Linux alone has it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif niceness != "normal":
        os.setpriority(os.PRIO_PROCESS, 0, NICEST)
