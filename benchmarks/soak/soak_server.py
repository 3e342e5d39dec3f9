"""A running `modelrouter serve` in a box: its address, its log, its state, and its end.

It may be started inside a memory cgroup, before it has touched any memory.
"""

import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from soak_box import PROGRAM, Box
from soak_proc import is_alive, workers_of

LISTENS = "modelrouter listens on "
STOP_SECONDS = 30.0
IDLE_SECONDS = 60.0
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
"""The shell puts itself into the group and then becomes the server."""


class Server:
    """`with Server(box) as server`: it listens; leaving ends it, and it must leave no worker."""

    def __init__(self, box: Box, group: Path | None = None) -> None:
        """Start it, in the cgroup `group` where there is one, and wait until it listens."""
        self.box = box
        self.log: list[str] = []
        """What it has said since it listens."""
        self.left_behind: list[int] = []
        """Workers that have outlived it."""
        command = [*PROGRAM, "serve", "--port", "0", "--config", str(box.config)]
        if group is not None:
            command = ["sh", "-c", ENTER, str(group), *command]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=box.folder,
            env=box.environment,
        )
        self.pid = self._process.pid
        self.url = self._wait_until_it_listens()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _wait_until_it_listens(self) -> str:
        assert self._process.stderr is not None
        said = ""
        while line := self._process.stderr.readline():
            if line.startswith(LISTENS):
                return line.removeprefix(LISTENS).strip()
            said += line
        with self._process:
            raise SystemExit(f"modelrouter serve did not start:\n{said}")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip())

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what `/admin/status` says of each model now: state, active, waiting and more."""
        url = f"{self.url}/admin/status"
        with urllib.request.urlopen(url, timeout=IDLE_SECONDS) as response:
            return {model["model"]: model for model in json.load(response)["models"]}

    def still_busy(self) -> list[str]:
        """Wait, not for ever, until nobody waits and all slots are free; return who is left.

        A slot that a request left behind would stay taken.
        """
        ends_at = time.monotonic() + IDLE_SECONDS
        while (found := self._busy_now()) and time.monotonic() < ends_at:
            pass
        return found

    def _busy_now(self) -> list[str]:
        return [
            f"{name}: {model['state']}, {model['active']} active, {model['waiting']} waiting"
            for name, model in self.status().items()
            if model["state"] not in {"ready", "unloaded"} or model["active"] or model["waiting"]
        ]

    def _stop(self) -> None:
        """End it as a service manager would."""
        workers = workers_of(self.pid)
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._listener.join()
        with self._process:
            self.left_behind = [pid for pid in workers if is_alive(pid)]
