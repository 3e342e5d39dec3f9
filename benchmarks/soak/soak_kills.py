"""Kills workers with signal 9 while they load, prefill and decode, over the length of a script.

Each kill waits for its share of the script to be over and then for a moment of its kind. It knows
what clients and watch have seen, and of the server's inside what `/admin/status` says.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from soak_crowd import Crowd
from soak_proc import workers_of
from soak_server import Server
from soak_watch import Watch

Phase = Literal["load", "prefill", "decode"]
PHASES: tuple[Phase, ...] = ("load", "prefill", "decode")
LAST_SHARE = 0.85
"""The last kill is due here, so that there is a script left to recover in."""

LOOK_SECONDS = 0.01
LONGEST_DELAY_SECONDS = 0.8
"""About the time of a load: kills in it come anywhere in it."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, due when this share of the script is over."""

    phase: Phase
    due_share: float


def plan_kills(count: int) -> list[Kill]:
    """Return `count` kills, spread evenly, the phases in turn."""
    return [Kill(PHASES[n % len(PHASES)], LAST_SHARE * (n + 1) / (count + 1)) for n in range(count)]


class Killer(threading.Thread):
    """`with Killer(...) as killer`: it kills as planned until the block is left."""

    def __init__(self, server: Server, crowd: Crowd, watch: Watch, count: int, seed: int) -> None:
        """Plan `count` kills; `seed` decides how late in a load they come."""
        super().__init__(name="killer")
        self.done: Counter[Phase] = Counter()
        self._kills = plan_kills(count)
        self._server = server
        self._crowd = crowd
        self._watch = watch
        self._chance = random.Random(seed)
        self._answers: dict[str, int] = {}
        """How many whole answers a model had given when it was last killed."""
        self._is_over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    def run(self) -> None:
        """Do one kill after the other, each when it is due and its moment has come."""
        for kill in self._kills:
            if self._wait_for(lambda: self._crowd.done_share >= kill.due_share):  # noqa: B023
                due_at = time.monotonic()
                if self._wait_for(lambda: self._try(kill.phase, due_at)):  # noqa: B023
                    self.done[kill.phase] += 1

    def _wait_for(self, moment: Callable[[], bool]) -> bool:
        """Look again and again until the moment has come; False where all is over before."""
        while not self._is_over.wait(LOOK_SECONDS):
            if moment():
                return True
        return False

    def _try(self, phase: Phase, since: float) -> bool:
        models = {"load": self._loading, "prefill": self._prefilling, "decode": self._decoding}
        found = [name for name in models[phase]() if self._has_answered(name)]
        workers = self._newcomers(since) if phase == "load" else self._workers_of(found)
        return bool(found) and any(self._kill(pid, found) for pid in workers)

    def _kill(self, pid: int, models: Sequence[str]) -> bool:
        if pid not in workers_of(self._server.pid):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._answers |= {name: self._crowd.answers[name] for name in models}
            return True
        return False

    def _has_answered(self, model: str) -> bool:
        """Tell whether the model has given a whole answer since it was last killed.

        The scheduler gives up a model that fails four times in a row.
        """
        return self._crowd.answers[model] > self._answers.get(model, -1)

    def _newcomers(self, since: float) -> list[int]:
        """Return workers that were started a moment ago; they are anywhere in their load."""
        young = self._watch.living(lambda seen: seen.since > since)
        if young:
            self._is_over.wait(self._chance.uniform(0, LONGEST_DELAY_SECONDS))
        return young

    def _workers_of(self, models: Sequence[str]) -> list[int]:
        return self._watch.living(lambda seen: seen.model in models)

    def _loading(self) -> list[str]:
        return [name for name, model in self._server.status().items() if _loads(model)]

    def _prefilling(self) -> list[str]:
        """Return models that read a prompt, by all that can be seen from outside."""
        asks = [each.ask for each in self._crowd.under_way() if not each.texts]
        named = {ask.model for ask in asks if ask.prefills}
        status = self._server.status().items() if named else ()
        return [name for name, model in status if name in named and _works(model)]

    def _decoding(self) -> list[str]:
        return [each.model for each in self._crowd.under_way() if each.texts and each.model]


def _loads(status: Mapping[str, Any]) -> bool:
    return bool(status["state"] == "loading")


def _works(status: Mapping[str, Any]) -> bool:
    """Tell whether a model is loaded and somebody has a slot of it."""
    return bool(status["state"] == "ready" and status["active"])
