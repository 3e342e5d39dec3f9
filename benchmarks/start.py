"""Starting up: `modelrouter --help` and `import modelrouter.cli`, beside a bare Python.

The limit is physical: an interpreter that does nothing. Whole processes, taking turns, medians.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

TURNS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import modelrouter.cli": [sys.executable, "-c", "import modelrouter.cli"],
    "modelrouter --help": [str(Path(sys.executable).with_name("modelrouter")), "--help"],
    "modelrouter route": [
        str(Path(sys.executable).with_name("modelrouter")), "route", "reverse a list",
    ],
}  # fmt: skip


def seconds(command: list[str]) -> float:
    """Run the command once and return how long it took."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the median of each command."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(TURNS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    for name, times in taken.items():
        print(f"{name:24} {statistics.median(times):.3f} s (least {min(times):.3f})")


main()
