"""The memory cgroups this process is in, its own and all above it: what they allow and have left.

Any of them may be the one that binds, in cgroup v1, in v2, and where a machine has both. It knows
no budget. Formats: cgroups(7), proc_pid_mountinfo(5), and in the kernel's documentation
admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CONTAINER_MARKS = (
    ".dockerenv",
    "run/.containerenv",
    "run/systemd/container",
    "run/secrets/kubernetes.io",
    "var/run/secrets/kubernetes.io",
)
"""Files that Docker, Podman, systemd-nspawn and Kubernetes leave inside a container."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One version's names: of its files, its mounts and the places they have by convention.

    `reclaimable` are the lines of memory.stat that count file pages the kernel takes back when it
    needs them: of its two lists, since what was read twice is on the active one.
    """

    limits: tuple[str, ...]
    used: str
    reclaimable: tuple[str, ...]
    fstype: str
    mounts: tuple[str, ...]


V2 = Hierarchy(
    limits=("memory.max", "memory.high"),  # above `high` a process is slowed to a crawl
    used="memory.current",
    reclaimable=("inactive_file", "active_file"),
    fstype="cgroup2",
    mounts=("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
)
V1 = Hierarchy(
    limits=("memory.limit_in_bytes",),
    used="memory.usage_in_bytes",
    reclaimable=("total_inactive_file", "total_active_file"),
    fstype="cgroup",
    mounts=("/sys/fs/cgroup/memory",),
)
ANCESTORS_LIMIT = "hierarchical_memory_limit"
"""v1's memory.stat tells the lowest limit above, also of cgroups that a container cannot see."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Bytes that a cgroup may use, those it has left, and the file that says so."""

    bound_bytes: int
    left_bytes: int
    file: Path


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One memory cgroup: its folder, and the version whose files lie in it."""

    folder: Path
    hierarchy: Hierarchy

    def limits(self, missing: list[str]) -> Iterator[Limit]:
        """Yield the cgroup's limits; what cannot be understood is named in `missing`."""
        bounds = list(self._bounds(missing))
        if not bounds:
            return
        held_bytes = self._held_bytes(missing)
        for file, bound_bytes in bounds:
            yield Limit(bound_bytes, max(0, bound_bytes - held_bytes), file)

    def _bounds(self, missing: list[str]) -> Iterator[tuple[Path, int]]:
        for name in self.hierarchy.limits:
            file = self.folder / name
            text = read(file)
            if text is None or text == "max":
                continue
            if (bound_bytes := _number(text)) is not None:
                yield file, bound_bytes
            else:
                missing.append(f"{file} says {text[:40]!r}, which is no limit: it is not counted")
        above = self._stat(ANCESTORS_LIMIT)
        if above is not None:
            yield self.folder / f"memory.stat ({ANCESTORS_LIMIT})", above

    def _held_bytes(self, missing: list[str]) -> int:
        """Return the bytes that the kernel could not take back from the cgroup."""
        file = self.folder / self.hierarchy.used
        used_bytes = _number(read(file) or "")
        if used_bytes is None:
            missing.append(f"{file}: what is used under its limit; all of it counts as available")
            return 0
        reclaimable = sum(self._stat(name) or 0 for name in self.hierarchy.reclaimable)
        return max(0, used_bytes - reclaimable)

    def _stat(self, name: str) -> int | None:
        text = read(self.folder / "memory.stat") or ""
        found = re.search(rf"^{name} ([0-9]+)$", text, re.MULTILINE)
        return _number(found[1]) if found else None


def read(file: Path) -> str | None:
    """Return a file's text without the blanks around it; None where it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else None


def own_cgroups(root: Path) -> tuple[Cgroup, ...]:
    """Return this process's cgroups that are there, the innermost first.

    `root` stands before every path. Where a container shows less than it has, the outermost that
    is there is its own.
    """
    return tuple(
        Cgroup(folder, hierarchy)
        for hierarchy, path in _memberships(root)
        for mount in _mounts(root, hierarchy)
        for folder in _upwards(mount.folder, mount.below(path))
        if folder.is_dir()
    )


def is_container(root: Path) -> bool:
    """Tell whether a container's marks are there."""
    return any((root / mark).exists() for mark in CONTAINER_MARKS)


def _memberships(root: Path) -> list[tuple[Hierarchy, PurePosixPath]]:
    """Return the versions and the paths of /proc/self/cgroup; without it, the top of both."""
    text = read(root / "proc/self/cgroup")
    if text is None:
        return [(V2, PurePosixPath("/")), (V1, PurePosixPath("/"))]
    found = []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            found.append((V1, PurePosixPath(path)))
        elif (number, controllers) == ("0", ""):
            found.append((V2, PurePosixPath(path)))
    return found


@dataclass(frozen=True, slots=True)
class _Mount:
    """A place where cgroups are shown: those at `top` and below it."""

    folder: Path
    top: PurePosixPath

    def below(self, path: PurePosixPath) -> PurePosixPath:
        """Return the way from the mount's folder to the cgroup; no way for one it cannot show."""
        if ".." in path.parts or not path.is_relative_to(self.top):
            return PurePosixPath()
        return path.relative_to(self.top)


def _mounts(root: Path, hierarchy: Hierarchy) -> list[_Mount]:
    """Return a version's mounts, as mountinfo tells; without it, where they are by convention."""
    text = read(root / "proc/self/mountinfo")
    if text is None:
        return [_Mount(root / place[1:], PurePosixPath("/")) for place in hierarchy.mounts]
    return [
        _Mount(root / _unescaped(fields[4])[1:], PurePosixPath(_unescaped(fields[3])))
        for fields, fstype, options in _mount_lines(text)
        if fstype == hierarchy.fstype and (hierarchy is V2 or "memory" in options.split(","))
    ]


def _mount_lines(text: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield each mount's fields, its file system type and its super block's options."""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) > 4 and len(rest) > 1:
            yield fields, rest[0], rest[-1]


def _unescaped(path: str) -> str:
    """Undo the octal escapes that mountinfo writes for blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)


def _upwards(top: Path, way: PurePosixPath) -> list[Path]:
    return [top / step for step in (way, *way.parents)]
