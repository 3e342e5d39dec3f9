"""The budget on machines of a test's own: folders that hold what Linux would say.

It reads no real /proc but where it says so.
"""

from pathlib import Path

import pytest
from linux_tree import (
    GIB,
    OTHER_MOUNTS,
    V1_MOUNT,
    V1_TOP,
    V1_UNLIMITED,
    V2_MOUNT,
    V2_TOP,
    plant,
    v1,
    v2,
)

from modelrouter.errors import ConfigError
from modelrouter.memory.budget import AVAILABLE_NOW, Budget, Machine, budget, notes, read_machine

NO_CGROUP = "no memory cgroup: no limit can be seen"
NO_PSI = "no pressure stall information: available memory alone tells of pressure"
NO_USAGE = ": what is used under its limit; all of it counts as available"
ALL_AVAILABLE = " tells the memory, and all of it counts as available"
NO_LIMIT = "this container has no memory limit: it may use all of the machine's"

USER = "user.slice/user-1000.slice/user@1000.service"
OWN = f"{USER}/app.slice/modelrouter.service"
IN_OWN_V2 = {"proc/self/cgroup": f"0::/{OWN}\n", "proc/self/mountinfo": OTHER_MOUNTS + V2_MOUNT}
IN_POD_V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/kubepods/pod7/c1\n0::/\n",
    "proc/self/mountinfo": OTHER_MOUNTS + V1_MOUNT,
}


@pytest.mark.parametrize(
    ("files", "limit", "limit_file"),
    [
        pytest.param(v2(V2_TOP, "max"), None, "", id="v2, unlimited"),
        pytest.param(v2(V2_TOP, f"{8 * GIB}"), 8, f"{V2_TOP}/memory.max", id="v2, conventional"),
        pytest.param(
            v1(V1_TOP, f"{6 * GIB}\n"), 6, f"{V1_TOP}/memory.limit_in_bytes", id="v1, conventional"
        ),
        pytest.param(v1(V1_TOP, V1_UNLIMITED), None, "", id="v1, unlimited"),
        pytest.param(
            v2("sys/fs/cgroup/unified", f"{8 * GIB}") | v1(V1_TOP, f"{6 * GIB}\n"),
            6,
            f"{V1_TOP}/memory.limit_in_bytes",
            id="both, the lower binds",
        ),
        pytest.param(
            IN_OWN_V2 | v2(f"{V2_TOP}/{OWN}", f"{8 * GIB}"),
            8,
            f"{V2_TOP}/{OWN}/memory.max",
            id="v2, our own slice",
        ),
        pytest.param(
            IN_OWN_V2 | v2(f"{V2_TOP}/{OWN}", f"{8 * GIB}") | v2(f"{V2_TOP}/{USER}", f"{7 * GIB}"),
            7,
            f"{V2_TOP}/{USER}/memory.max",
            id="v2, a slice above",
        ),
        pytest.param(
            IN_OWN_V2
            | v2(f"{V2_TOP}/{OWN}", f"{8 * GIB}")
            | {f"{V2_TOP}/{OWN}/memory.high": f"{5 * GIB}"},
            5,
            f"{V2_TOP}/{OWN}/memory.high",
            id="v2, memory.high",
        ),
        pytest.param(
            IN_OWN_V2 | v2(f"{V2_TOP}/somebody.slice", f"{GIB}"), None, "", id="v2, others' limits"
        ),
        pytest.param(
            IN_POD_V1 | v1(f"{V1_TOP}/kubepods/pod7", f"{4 * GIB}\n"),
            4,
            f"{V1_TOP}/kubepods/pod7/memory.limit_in_bytes",
            id="v1, the pod",
        ),
        pytest.param(
            IN_POD_V1 | v1(f"{V1_TOP}/kubepods/pod7/c1", V1_UNLIMITED, above=f"{3 * GIB}\n"),
            3,
            f"{V1_TOP}/kubepods/pod7/c1/memory.stat (hierarchical_memory_limit)",
            id="v1, above what is shown",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/docker/c1\n",
                "proc/self/mountinfo": V1_MOUNT.replace(" / ", " /docker/c1 ", 1),
            }
            | v1(V1_TOP, f"{2 * GIB}\n"),
            2,
            f"{V1_TOP}/memory.limit_in_bytes",
            id="v1, the container is the mount's top",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../other\n", "proc/self/mountinfo": V2_MOUNT}
            | v2(V2_TOP, f"{8 * GIB}")
            | v2("sys/fs/other", f"{GIB}"),
            8,
            f"{V2_TOP}/memory.max",
            id="v2, outside of the namespace",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/gone (deleted)\n", "proc/self/mountinfo": V2_MOUNT}
            | v2(V2_TOP, f"{8 * GIB}"),
            8,
            f"{V2_TOP}/memory.max",
            id="v2, a folder that is not shown",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a b\n",
                "proc/self/mountinfo": V2_MOUNT.replace("/sys/fs/cgroup", "/my\\040cgroups"),
            }
            | v2("my cgroups/a b", f"{8 * GIB}"),
            8,
            "my cgroups/a b/memory.max",
            id="v2, blanks, elsewhere",
        ),
    ],
)
def test_the_lowest_limit_of_our_own_cgroups_binds(
    files: dict[str, str], limit: int | None, limit_file: str, tmp_path: Path
) -> None:
    """Of our own cgroup and all above it, in either version; the file that says so is named."""
    machine = read_machine(plant(tmp_path, files))
    assert machine.total_bytes == 32 * GIB
    assert machine.limit_bytes == (None if limit is None else limit * GIB)
    assert machine.installed_bytes == (limit or 32) * GIB
    assert machine.available_bytes == min(16, limit or 16) * GIB
    assert machine.missing == ()
    if limit:
        assert machine.limit_origin == str(tmp_path / limit_file)


@pytest.mark.parametrize(
    ("files", "available_gib", "file"),
    [
        pytest.param(v2(V2_TOP, f"{8 * GIB}", 6 * GIB), 2, "memory.max", id="v2"),
        pytest.param(v2(V2_TOP, f"{8 * GIB}", 6 * GIB, 4 * GIB), 6, "memory.max", id="page cache"),
        pytest.param(v2(V2_TOP, f"{8 * GIB}", 9 * GIB), 0, "memory.max", id="over the limit"),
        pytest.param(v2(V2_TOP, f"{24 * GIB}", 6 * GIB), 16, None, id="more than the machine has"),
        pytest.param(v1(V1_TOP, f"{8 * GIB}\n", 5 * GIB), 3, "memory.limit_in_bytes", id="v1"),
        pytest.param(
            IN_OWN_V2
            | v2(f"{V2_TOP}/{OWN}", f"{4 * GIB}", 1 * GIB)
            | v2(f"{V2_TOP}/{USER}", f"{20 * GIB}", 18 * GIB),
            2,
            f"{USER}/memory.max",
            id="others fill the slice above",
        ),
    ],
)
def test_what_the_cgroup_holds_already_is_not_available(
    files: dict[str, str], available_gib: int, file: str | None, tmp_path: Path
) -> None:
    """What is used under a limit counts, but for page cache, which the kernel takes back."""
    machine = read_machine(plant(tmp_path, files))
    assert machine.available_bytes == available_gib * GIB
    if file is None:
        assert machine.available_origin == AVAILABLE_NOW
    else:
        assert machine.available_origin.startswith("what is left now under ")
        assert machine.available_origin.endswith(f"/{file}")


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        pytest.param({}, [NO_CGROUP], id="no cgroup"),
        pytest.param({".dockerenv": ""} | v2(V2_TOP, "max"), [NO_LIMIT], id="unlimited container"),
        pytest.param({".dockerenv": ""} | v2(V2_TOP, f"{8 * GIB}"), [], id="limited container"),
        pytest.param(
            {"proc/pressure/memory": "some avg10=none\n"} | v2(V2_TOP, "max"), [NO_PSI], id="no PSI"
        ),
        pytest.param(
            {"proc/self/cgroup": "\0\nwhat\n::::\n", "proc/self/mountinfo": "a b - c\n - \n"},
            [NO_CGROUP],
            id="garbage",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/\n",
                "proc/self/mountinfo": OTHER_MOUNTS,
                "sys/fs/cgroup/cpu/cpu.shares": "1024\n",
            },
            [NO_CGROUP],
            id="memory is not mounted",
        ),
        pytest.param(
            {f"{V2_TOP}/memory.max": "lots\n"},
            [f"{V2_TOP}/memory.max says 'lots', which is no limit: it is not counted"],
            id="a limit that is none",
        ),
        pytest.param(
            {f"{V2_TOP}/memory.max": f"{8 * GIB}\n"},
            [f"{V2_TOP}/memory.current{NO_USAGE}"],
            id="usage unknown",
        ),
    ],
)
def test_what_the_machine_does_not_tell_is_named(
    files: dict[str, str], missing: list[str], tmp_path: Path
) -> None:
    """No figure is guessed in silence."""
    machine = read_machine(plant(tmp_path, files))
    assert [text.removeprefix(f"{tmp_path}/") for text in machine.missing] == missing
    assert machine.available_bytes <= 16 * GIB


@pytest.mark.parametrize(
    ("numbers", "machine"),
    [
        (
            {"hw.memsize": 32 * GIB, "kern.memorystatus_level": 25},
            Machine(
                32 * GIB,
                8 * GIB,
                None,
                (
                    "no /proc/meminfo: hw.memsize and kern.memorystatus_level tell the memory",
                    NO_CGROUP,
                    NO_PSI,
                ),
            ),
        ),
        (
            {"hw.memsize": 32 * GIB},
            Machine(
                32 * GIB,
                32 * GIB,
                None,
                (f"no /proc/meminfo: hw.memsize{ALL_AVAILABLE}", NO_CGROUP, NO_PSI),
            ),
        ),
    ],
)
def test_macos_is_asked_by_sysctl(
    numbers: dict[str, int], machine: Machine, tmp_path: Path
) -> None:
    """Without /proc the kernel's own numbers stand, and what they do not tell is named."""
    assert read_machine(tmp_path, numbers.get) == machine


def test_without_proc_and_sysctl_all_of_the_memory_counts(tmp_path: Path) -> None:
    """Where nothing says what is available, what is installed stands for both."""
    machine = read_machine(tmp_path, {}.get)
    assert machine.total_bytes == machine.available_bytes > 0
    assert machine.missing[0] == f"no /proc/meminfo: sysconf{ALL_AVAILABLE}"


@pytest.mark.parametrize(
    "text", ["MemTotal: 1024 kB\n", "MemTotal: 1024 kB\nMemAvailable: lots\n\n:\nMemAvailable"]
)
def test_a_meminfo_that_does_not_say_is_an_error_that_helps(text: str, tmp_path: Path) -> None:
    """A kernel too old for MemAvailable is named, with the way round it."""
    path = plant(tmp_path, {"proc/meminfo": text}) / "proc/meminfo"
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
    ("machine", "expected"),
    [
        (Machine(32 * GIB, 16 * GIB, None), Budget(16 * GIB, GIB, AVAILABLE_NOW)),
        (
            Machine(32 * GIB, 7 * GIB, 8 * GIB, (), "what is left", "the limit"),
            Budget(7 * GIB, GIB, "what is left"),
        ),
    ],
)
def test_the_budget_is_what_is_available(machine: Machine, expected: Budget) -> None:
    """Without a word of the user's, models may have what could be taken now."""
    assert budget(machine, None, GIB) == expected


@pytest.mark.parametrize(
    ("limit_gib", "ram_gib", "notes"),
    [
        (None, 16, ()),
        (None, 17, ("there are 16.00 GiB now (the memory available now)",)),
        (None, 33, ("the machine has 32.00 GiB",)),
        (20, 21, ("/sys/memory.max allows 20.00 GiB",)),
    ],
)
def test_what_the_user_sets_holds(
    limit_gib: int | None, ram_gib: int, notes: tuple[str, ...]
) -> None:
    """A `ram` that the machine cannot give is used, with a warning that has the numbers."""
    limit_bytes = None if limit_gib is None else limit_gib * GIB
    machine = Machine(32 * GIB, 16 * GIB, limit_bytes, limit_origin="/sys/memory.max")
    found = budget(machine, ram_gib * GIB, GIB)
    assert (found.ram_bytes, found.origin) == (ram_gib * GIB, "models.toml")
    assert len(found.notes) == len(notes)
    for note, part in zip(found.notes, notes, strict=True):
        assert note.startswith(f"budget.ram is {ram_gib}.00 GiB, and {part}: ")


def test_the_reserve_is_never_the_models() -> None:
    """Models get the RAM without the reserve."""
    assert budget(Machine(32 * GIB, 16 * GIB, None), 4 * GIB, GIB).models_bytes == 3 * GIB


@pytest.mark.parametrize(("ram_bytes", "origin"), [(GIB, "models.toml"), (None, AVAILABLE_NOW)])
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


def test_notes_are_the_budgets_warnings_and_what_the_machine_lacks() -> None:
    """An operator is told both, the warnings first."""
    machine = Machine(32 * GIB, 16 * GIB, None, missing=(NO_PSI,))
    assert notes(machine, budget(machine, None, GIB)) == (NO_PSI,)
    warned = budget(machine, 40 * GIB, GIB)
    assert notes(machine, warned) == (*warned.notes, NO_PSI)
