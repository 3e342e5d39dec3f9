"""How much memory the models may use: what the user set, else what the machine has to give.

The only place that reads how Linux counts memory. It knows no model.
"""

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from modelrouter.errors import ConfigError
from modelrouter.memory.cgroups import Cgroup, Limit, is_container, own_cgroups
from modelrouter.memory.sizes import in_words
from modelrouter.memory.stall import read_stall

MEMINFO = "proc/meminfo"
AVAILABLE_NOW = "the memory available now"

Sysctl: TypeAlias = Callable[[str], int | None]
"""Returns a number of the kernel's by its name, None where there is none of that name."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine says of its memory, in bytes. Swap is not counted.

    `available_bytes` could be taken now: MemAvailable, or what a cgroup has left where that is
    less. `limit_bytes` is the lowest limit of our cgroups, None where none is below the installed
    memory. `missing` names in words what the machine does not tell, and what stands for it.
    """

    total_bytes: int
    available_bytes: int
    limit_bytes: int | None
    missing: tuple[str, ...] = ()
    available_origin: str = AVAILABLE_NOW
    limit_origin: str = "the cgroup's limit"

    @property
    def installed_bytes(self) -> int:
        """All the memory there could ever be for us."""
        return self.total_bytes if self.limit_bytes is None else self.limit_bytes


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes for all models together, and where the figure comes from.

    `notes` are warnings in words: a `ram` that the machine cannot give is used all the same.
    """

    ram_bytes: int
    reserve_bytes: int
    origin: str
    notes: tuple[str, ...] = ()

    @property
    def models_bytes(self) -> int:
        """What models may use: the RAM without the reserve."""
        return self.ram_bytes - self.reserve_bytes


def _darwin_sysctl(name: str) -> int | None:
    """Ask sysctlbyname(3), which macOS has and Linux has not."""
    try:
        ask = ctypes.CDLL(None).sysctlbyname
    except AttributeError:
        return None
    answer, size = ctypes.c_uint64(0), ctypes.c_size_t(8)
    failed = ask(name.encode(), ctypes.byref(answer), ctypes.byref(size), None, ctypes.c_size_t(0))
    return None if failed else answer.value


def read_machine(root: Path = Path("/"), sysctl: Sysctl = _darwin_sysctl) -> Machine:
    """Read the machine's memory; `root` stands before every path, for a test's own machine."""
    missing: list[str] = []
    cgroups = own_cgroups(root)
    total, available = _memory(root, sysctl, missing)
    limits = _binding(cgroups, total, missing)
    missing += _not_told(root, cgroups, limits)
    return _machine(total, available, limits, tuple(missing))


def _machine(
    total: int, available: int, limits: Sequence[Limit], missing: tuple[str, ...]
) -> Machine:
    if not limits:
        return Machine(total, available, None, missing)
    lowest = min(limits, key=lambda limit: limit.bound_bytes)
    tightest = min(limits, key=lambda limit: limit.left_bytes)
    origin = AVAILABLE_NOW
    if tightest.left_bytes < available:
        available, origin = tightest.left_bytes, f"what is left now under {tightest.file}"
    return Machine(total, available, lowest.bound_bytes, missing, origin, str(lowest.file))


def _binding(cgroups: Sequence[Cgroup], total: int, missing: list[str]) -> list[Limit]:
    """Return the limits below the installed memory; v1 says "none" with a huge one."""
    limits = [limit for cgroup in cgroups for limit in cgroup.limits(missing)]
    return [limit for limit in limits if limit.bound_bytes < total]


def _not_told(root: Path, cgroups: Sequence[Cgroup], limits: Sequence[Limit]) -> list[str]:
    missing = []
    if not cgroups:
        missing.append("no memory cgroup: no limit can be seen")
    if not limits and is_container(root):
        missing.append("this container has no memory limit: it may use all of the machine's")
    if read_stall(root, cgroups) is None:
        missing.append("no pressure stall information: available memory alone tells of pressure")
    return missing


def _memory(root: Path, sysctl: Sysctl, missing: list[str]) -> tuple[int, int]:
    """Return the installed and the available bytes."""
    try:
        return _meminfo(root / MEMINFO)
    except OSError:
        total, told = _installed(sysctl)
        percent = sysctl("kern.memorystatus_level")  # what macOS's memory_pressure(1) prints
        if percent is None or percent > 100:
            missing.append(
                f"no /proc/meminfo: {told} tells the memory, and all of it counts as available"
            )
            return total, total
        missing.append(f"no /proc/meminfo: {told} and kern.memorystatus_level tell the memory")
        return total, total * percent // 100


def _installed(sysctl: Sysctl) -> tuple[int, str]:
    if total := sysctl("hw.memsize"):
        return total, "hw.memsize"
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "sysconf"


def _meminfo(path: Path) -> tuple[int, int]:
    """Return MemTotal and MemAvailable in bytes; OSError where there is no such file."""
    text = path.read_text(errors="replace")
    kibibytes = dict(re.findall(r"^(\w+): +([0-9]{1,18}) kB$", text, re.MULTILINE))
    try:
        return int(kibibytes["MemTotal"]) * 1024, int(kibibytes["MemAvailable"]) * 1024
    except KeyError as missing:
        raise ConfigError(
            f"{path} has no line {missing}", hint='set `ram = "..."` under [budget] in models.toml'
        ) from missing


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


def notes(machine: Machine, found: Budget) -> tuple[str, ...]:
    """Return what an operator should know: warnings about the budget, what the machine lacks."""
    return (*found.notes, *machine.missing)


def _found(machine: Machine, ram_bytes: int | None, reserve_bytes: int) -> Budget:
    if ram_bytes is None:
        return Budget(machine.available_bytes, reserve_bytes, machine.available_origin)
    note = _note(machine, ram_bytes)
    return Budget(ram_bytes, reserve_bytes, "models.toml", (note,) if note else ())


def _note(machine: Machine, ram_bytes: int) -> str | None:
    """Return what to say of a `ram` that the machine cannot give, or not now."""
    asked, installed = in_words(ram_bytes), in_words(machine.installed_bytes)
    if ram_bytes > machine.installed_bytes:
        has = "the machine has" if machine.limit_bytes is None else f"{machine.limit_origin} allows"
        return (
            f"budget.ram is {asked}, and {has} {installed}: "
            "a worker that takes more is ended by the kernel; lower it, or leave it out"
        )
    if ram_bytes > machine.available_bytes:
        return (
            f"budget.ram is {asked}, and there are {in_words(machine.available_bytes)} now "
            f"({machine.available_origin}): other programs hold the rest; end some, or lower it"
        )
    return None
