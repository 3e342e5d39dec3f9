"""How much memory the models may use: what the user set, else what the machine has to give.

The only place that reads how Linux counts memory. It knows no model.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from modelrouter.errors import ConfigError

MEMINFO = Path("/proc/meminfo")
CGROUP_V2 = Path("/sys/fs/cgroup/memory.max")
CGROUP_V1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine says of its memory, in bytes. `limit_bytes` None: no cgroup bounds us."""

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None

    @property
    def installed_bytes(self) -> int:
        """All the memory there could ever be for us."""
        return self.total_bytes if self.limit_bytes is None else self.limit_bytes


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes for all models together, and where the figure comes from."""

    ram_bytes: int
    reserve_bytes: int
    origin: str

    @property
    def models_bytes(self) -> int:
        """What models may use: the RAM without the reserve."""
        return self.ram_bytes - self.reserve_bytes


def read_machine(root: Path = Path("/")) -> Machine:
    """Read the machine's memory; `root` stands before every path, for a test's own machine."""
    total, available = _meminfo(root / MEMINFO.relative_to("/"))
    limits = [_limit(root / path.relative_to("/")) for path in (CGROUP_V2, CGROUP_V1)]
    bounds = [limit for limit in limits if limit is not None and limit < total]
    return Machine(total, available, min(bounds, default=None))


def budget(machine: Machine, ram_bytes: int | None, reserve_bytes: int) -> Budget:
    """Return the budget: what the user set, or with None what the machine has to give.

    ConfigError where the reserve leaves nothing of it.
    """
    found = _found(machine, ram_bytes, reserve_bytes)
    if found.models_bytes <= 0:
        raise ConfigError(
            f"budget.reserve is {reserve_bytes:,} bytes, and there are only "
            f"{found.ram_bytes:,} ({found.origin}) to take it from",
            hint="lower the reserve, or raise budget.ram",
        )
    return found


def _found(machine: Machine, ram_bytes: int | None, reserve_bytes: int) -> Budget:
    if ram_bytes is not None:
        return Budget(ram_bytes, reserve_bytes, "models.toml")
    if machine.limit_bytes is not None and machine.limit_bytes < machine.available_bytes:
        return Budget(machine.limit_bytes, reserve_bytes, "the cgroup's limit")
    return Budget(machine.available_bytes, reserve_bytes, "the memory available now")


def _meminfo(path: Path) -> tuple[int, int]:
    """Return MemTotal and MemAvailable in bytes; without /proc (macOS), all of RAM for both."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return installed, installed
    kibibytes = {key: int(rest.split()[0]) for key, _, rest in (li.partition(":") for li in lines)}
    try:
        return kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024
    except KeyError as missing:
        raise ConfigError(
            f"{path} has no line {missing}", hint='set `ram = "..."` under [budget] in models.toml'
        ) from missing


def _limit(path: Path) -> int | None:
    """Return a cgroup's memory limit in bytes, None where there is none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # v2 says "max"
