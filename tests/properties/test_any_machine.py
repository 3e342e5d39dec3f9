"""Whatever the files of /proc and /sys say, the machine is read or the user is told; the numbers
stay sane.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.errors import ConfigError
from modelrouter.memory.budget import read_machine

LINES = st.lists(
    st.sampled_from(
        [
            "MemTotal: 1000 kB",
            "MemAvailable: 900 kB",
            "MemAvailable: " + "9" * 5000 + " kB",
            "0::/a/b",
            "0::/../..",
            "4:memory:/a",
            "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
            "31 23 0:28 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "max",
            "500",
            "0",
            "-1",
            "9" * 5000,
            "inactive_file 300",
            "hierarchical_memory_limit 400",
            "some avg10=99.00 avg60=0.00 avg300=0.00 total=0",
            "full avg10=1e9 avg60=",
        ]
    )
    | st.text(max_size=20),
    max_size=4,
).map("\n".join)

FILES = (
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "proc/pressure/memory",
    *(
        f"sys/fs/cgroup/{folder}{name}"
        for folder in ("", "a/", "memory/", "memory/a/")
        for name in (
            "memory.max",
            "memory.high",
            "memory.current",
            "memory.stat",
            "memory.pressure",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        )
    ),
)


@given(
    meminfo=st.just("MemTotal: 1000 kB\nMemAvailable: 900 kB\n") | LINES,
    contents=st.dictionaries(st.sampled_from(FILES), LINES),
)
def test_any_files_give_a_machine_or_an_error_that_helps(
    meminfo: str, contents: dict[str, str]
) -> None:
    """No text makes a traceback, a negative number, or more memory than is installed."""
    with TemporaryDirectory() as folder:
        for name, text in {"proc/meminfo": meminfo, **contents}.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
        try:
            machine = read_machine(Path(folder))
        except ConfigError:
            return
    assert machine.limit_bytes is None or 0 <= machine.limit_bytes < machine.total_bytes
    assert machine.available_bytes >= 0
    assert machine.limit_bytes is None or machine.available_bytes <= machine.limit_bytes
