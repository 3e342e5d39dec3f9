"""A memory cgroup of our own: a limit that the kernel enforces, and its count of kills.

Version 1 and 2 differ in file names and in where a group may be made: beneath our own group, or
beside it, because a v2 group with processes in it has no limited children.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

REMOVAL_SECONDS = 10.0
HINT = "as a user of systemd try: systemd-run --user --scope make soak-cgroup"


@dataclass(frozen=True, slots=True)
class Names:
    """What one version of cgroups calls its files; `kills` is a line of the file `events`."""

    limit: str
    limit_with_swap: str
    swap_is_apart: bool
    peak: str
    events: str
    kills: str = "oom_kill"


V1 = Names(
    limit="memory.limit_in_bytes",
    limit_with_swap="memory.memsw.limit_in_bytes",
    swap_is_apart=False,
    peak="memory.max_usage_in_bytes",
    events="memory.oom_control",
)
V2 = Names(
    limit="memory.max",
    limit_with_swap="memory.swap.max",
    swap_is_apart=True,
    peak="memory.peak",
    events="memory.events",
)


class NoGroup(Exception):
    """No memory cgroup can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A group with a limit. Processes enter by `path / "cgroup.procs"`."""

    path: Path
    names: Names

    def limit(self, limit_bytes: int) -> None:
        """Set the limit; swap, where there is any, must not hide that it is exceeded."""
        (self.path / self.names.limit).write_text(str(limit_bytes))
        with_swap = self.path / self.names.limit_with_swap
        if with_swap.exists():
            with_swap.write_text("0" if self.names.swap_is_apart else str(limit_bytes))

    @property
    def peak_bytes(self) -> int | None:
        """The most that was used, page cache and the kernel's own included; None: not told."""
        file = self.path / self.names.peak
        return int(file.read_text()) if file.exists() else None

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        lines = (self.path / self.names.events).read_text().splitlines()
        counts = dict(line.split() for line in lines)
        return int(counts[self.names.kills])


@contextlib.contextmanager
def memory_group() -> Iterator[MemoryGroup]:
    """Make a group, and remove it at the end; NoGroup where this user or machine has none."""
    parent, names = _parent()
    path = parent / f"modelrouter-soak-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        raise NoGroup(f"{path}: {error.strerror}; {HINT}") from error
    try:
        if not (path / names.limit).exists():
            raise NoGroup(f"{path} has no {names.limit}; {HINT}")
        yield MemoryGroup(path, names)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove the group; the kernel may take a moment to see that its last process is gone."""
    ends_at = time.monotonic() + REMOVAL_SECONDS
    while True:
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > ends_at:
                raise
        else:
            return


def _parent() -> tuple[Path, Names]:
    """Return where a group may be made, and how its files are called."""
    own, mounts = _own_groups(), _mounts()
    if "memory" in own and "memory" in mounts:
        return _place(own["memory"], *mounts["memory"]), V1
    if "" in own and "" in mounts and own[""] != mounts[""][0]:
        return _place(own[""], *mounts[""]).parent, V2
    raise NoGroup(f"no cgroup of ours has a memory controller with room for another; {HINT}")


def _place(group: str, root: str, mount_point: str) -> Path:
    """Return a group's folder; a container may have mounted only what is below `root`."""
    return Path(mount_point) / group.removeprefix(root).lstrip("/")


def _own_groups() -> Mapping[str, str]:
    """Return the group that we are in, by controller; "" is version 2's."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    return {name: path for _, names, path in lines for name in names.split(",")}


def _mounts() -> Mapping[str, tuple[str, str]]:
    """Return (root, mount point) by controller; "" is version 2's. The format: proc(5)."""
    found: dict[str, tuple[str, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mount_point = before.split(" ")[3:5]
        if kind == "cgroup2":
            found[""] = root, mount_point
        elif kind == "cgroup":
            found |= dict.fromkeys(options.split(","), (root, mount_point))
    return found
