"""What one process holds, as the kernel counts it.

It knows no model and no budget.
"""

from pathlib import Path

from modelrouter.errors import EngineError

COUNTED = ("Anonymous:", "Locked:")
READ = "read_bytes:"


def held_bytes(pid: int) -> int:
    """Return what the kernel cannot take back from a process: anonymous and locked memory.

    Locked pages of files are meant; locked anonymous ones, which nothing here has, would count
    twice. EngineError where the kernel does not say (macOS, a process that is gone).
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError as error:
        raise EngineError(f"the memory of process {pid} is not known: {error}") from error
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(COUNTED))


def read_bytes(pid: int) -> int | None:
    """Return what the disk has read for a process so far, read ahead included.

    None where the kernel does not say: macOS, another user's process, one that is gone.
    """
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(READ)), None)
