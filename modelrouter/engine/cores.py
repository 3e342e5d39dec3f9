"""How many threads a model should use: the physical cores this process may run on.

Two threads on one core's two hyper-threads fight for its vector units, so siblings count once.
"""

import os
from pathlib import Path

TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def physical_cores() -> int:
    """Return the number of physical cores in this process's affinity mask, at least 1."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return max(1, (os.cpu_count() or 2) // 2)
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """Return the name of the core `cpu` belongs to; the cpu's own where /sys does not say."""
    try:
        return Path(TOPOLOGY.format(cpu)).read_text().strip()
    except OSError:
        return str(cpu)
