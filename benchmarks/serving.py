"""A server for a benchmark, in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTENS = "modelrouter listens on "


@contextmanager
def serving(config: Path) -> Iterator[str]:
    """Run `modelrouter serve` on a free port for the block; give its address."""
    command = [sys.executable, "-m", "modelrouter", "serve", "--port", "0", "--config", config]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = ""
            for line in server.stderr:  # what is odd about the box comes before
                said += line
                if line.startswith(LISTENS):
                    yield line.removeprefix(LISTENS).strip()
                    return
            sys.exit(said)
        finally:
            server.terminate()
