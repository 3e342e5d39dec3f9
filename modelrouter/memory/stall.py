"""How much of the time tasks stood still for want of memory: the kernel's pressure stall
information.

It knows how the files are written and not what a figure means. Format: admin-guide and
accounting/psi.rst in the kernel's documentation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelrouter.memory.cgroups import Cgroup, read

MACHINE_FILE = "proc/pressure/memory"
CGROUP_FILE = "memory.pressure"


@dataclass(frozen=True, slots=True)
class Stall:
    """Percent of the last ten seconds in which `some` task stood still, and in which all did."""

    some_avg10: float
    full_avg10: float


def read_stall(root: Path, cgroups: Sequence[Cgroup]) -> Stall | None:
    """Return the machine's stalls or our own cgroup's, whichever are worse; None without PSI."""
    own = [file for cgroup in cgroups if (file := cgroup.folder / CGROUP_FILE).exists()]
    files = [root / MACHINE_FILE, *own[:1]]
    found = [stall for file in files if (stall := _parsed(read(file) or ""))]
    if not found:
        return None
    return Stall(max(stall.some_avg10 for stall in found), max(stall.full_avg10 for stall in found))


def _parsed(text: str) -> Stall | None:
    figures = {
        kind: float(percent)
        for kind, percent in re.findall(
            r"^(some|full) avg10=([0-9]{1,3}\.[0-9]+) ", text, re.MULTILINE
        )
    }
    return Stall(figures["some"], figures["full"]) if len(figures) == 2 else None
