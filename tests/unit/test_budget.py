"""The budget on machines of a test's own: folders that hold what Linux would say.

It reads no real /proc but where it says so.
"""

from pathlib import Path

import pytest

from modelrouter.errors import ConfigError
from modelrouter.memory.budget import Budget, Machine, budget, read_machine

GIB = 2**30
MEMINFO = """\
MemTotal:       33554432 kB
MemFree:         1048576 kB
MemAvailable:   16777216 kB
HugePages_Total:       0
"""


def machine_with(root: Path, files: dict[str, str]) -> Machine:
    """Read a machine of 32 GiB, 16 of them available, with these other files."""
    for name, content in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return read_machine(root)


@pytest.mark.parametrize(
    ("files", "limit_bytes"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"sys/fs/cgroup/memory.max": f"{8 * GIB}\n"}, 8 * GIB),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{6 * GIB}\n"}, 6 * GIB),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (
            {
                "sys/fs/cgroup/memory.max": f"{8 * GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{6 * GIB}\n",
            },
            6 * GIB,
        ),
    ],
    ids=["none", "v2 without", "v2", "v1", "v1 without", "the lower of both"],
)
def test_a_machine_is_what_its_files_say(
    files: dict[str, str], limit_bytes: int | None, tmp_path: Path
) -> None:
    """Total and available memory, and a cgroup's limit where there is one that binds."""
    machine = machine_with(tmp_path, files)
    assert machine == Machine(32 * GIB, 16 * GIB, limit_bytes)
    assert machine.installed_bytes == (limit_bytes or 32 * GIB)


def test_without_proc_all_of_the_memory_counts(tmp_path: Path) -> None:
    """On macOS nothing says what is available: what is installed stands for both."""
    machine = read_machine(tmp_path)
    assert machine.total_bytes == machine.available_bytes > 0
    assert machine.limit_bytes is None


def test_a_meminfo_that_does_not_say_is_an_error_that_helps(tmp_path: Path) -> None:
    """A kernel too old for MemAvailable is named, with the way round it."""
    path = tmp_path / "proc" / "meminfo"
    path.parent.mkdir()
    path.write_text("MemTotal: 1024 kB\n")
    with pytest.raises(ConfigError) as failure:
        read_machine(tmp_path)
    assert failure.value.message == f"{path} has no line 'MemAvailable'"
    assert failure.value.hint == 'set `ram = "..."` under [budget] in models.toml'


def test_this_machine_can_be_read() -> None:
    """The real files are understood too: there is memory, and not more of it free than there is."""
    machine = read_machine()
    assert 0 < machine.available_bytes <= machine.total_bytes
    assert 0 < machine.installed_bytes <= machine.total_bytes


@pytest.mark.parametrize(
    ("limit_bytes", "ram_bytes", "expected"),
    [
        (None, 20 * GIB, Budget(20 * GIB, GIB, "models.toml")),
        (8 * GIB, 20 * GIB, Budget(20 * GIB, GIB, "models.toml")),
        (None, None, Budget(16 * GIB, GIB, "the memory available now")),
        (8 * GIB, None, Budget(8 * GIB, GIB, "the cgroup's limit")),
        (24 * GIB, None, Budget(16 * GIB, GIB, "the memory available now")),
    ],
)
def test_the_budget_is_the_users_else_the_machines(
    limit_bytes: int | None, ram_bytes: int | None, expected: Budget
) -> None:
    """What models.toml says holds; without it the lower of what is free and what is allowed."""
    machine = Machine(32 * GIB, 16 * GIB, limit_bytes)
    assert budget(machine, ram_bytes, GIB) == expected


def test_the_reserve_is_never_the_models() -> None:
    """Models get the RAM without the reserve."""
    assert budget(Machine(32 * GIB, 16 * GIB, None), 4 * GIB, GIB).models_bytes == 3 * GIB


@pytest.mark.parametrize(
    ("ram_bytes", "origin"), [(GIB, "models.toml"), (None, "the memory available now")]
)
def test_a_reserve_of_everything_is_refused(ram_bytes: int | None, origin: str) -> None:
    """A budget that has no room for any model is a mistake, with its numbers."""
    machine = Machine(32 * GIB, GIB, None)
    with pytest.raises(ConfigError) as failure:
        budget(machine, ram_bytes, GIB)
    assert failure.value.message == (
        "budget.reserve is 1,073,741,824 bytes, and there are only "
        f"1,073,741,824 ({origin}) to take it from"
    )
    assert failure.value.hint == "lower the reserve, or raise budget.ram"
