"""Folders that hold what Linux would say of a machine's memory: /proc and /sys of a test's own."""

from pathlib import Path

GIB = 2**30
MEMINFO = """\
MemTotal:       33554432 kB
MemFree:         1048576 kB
MemAvailable:   16777216 kB
HugePages_Total:       0
"""
QUIET = """\
some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""
V1_UNLIMITED = "9223372036854771712\n"

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
OTHER_MOUNTS = (
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "garbage\n"
)

V2_TOP = "sys/fs/cgroup"
V1_TOP = "sys/fs/cgroup/memory"


def plant(root: Path, files: dict[str, str]) -> Path:
    """Write the files of a machine with 32 GiB, 16 of them available, and PSI; return the root."""
    for name, content in {"proc/meminfo": MEMINFO, "proc/pressure/memory": QUIET, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def v2(folder: str, limit: str, used_bytes: int = 0, files_bytes: int = 0) -> dict[str, str]:
    """Return the files of a v2 cgroup that holds `files_bytes` of reclaimable page cache."""
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.high": "max\n",
        f"{folder}/memory.current": f"{used_bytes}\n",
        f"{folder}/memory.stat": (
            f"anon 1\nfile 2\ninactive_file {files_bytes // 2}\nactive_file {files_bytes // 2}\n"
        ),
    }


def v1(folder: str, limit: str, used_bytes: int = 0, above: str = V1_UNLIMITED) -> dict[str, str]:
    """Return the files of a v1 cgroup, which has a limit `above` it that may be out of sight."""
    return {
        f"{folder}/memory.limit_in_bytes": limit,
        f"{folder}/memory.usage_in_bytes": f"{used_bytes}\n",
        f"{folder}/memory.stat": f"cache 1\nhierarchical_memory_limit {above}total_cache 1\n",
    }
