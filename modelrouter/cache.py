"""The result cache: what was answered before, found by everything that shaped the answer.

The key is complete, so nothing ever needs invalidating. Text only: nothing stored is ever unpickled
(diskcache would: CVE-2025-69872). A cache that fails is bypassed with one warning, never a crash.
"""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from modelrouter.generation import Delta, Done, Finish, Generation, Usage
from modelrouter.tokens import Chance, TokenLogprobs

log = logging.getLogger(__name__)

SCHEMA = 3
"""Part of every key: a change of what is stored makes old entries unfindable, not misread."""

BUSY_SECONDS = 2.0
"""How long another process may hold the database before the cache is bypassed for this request."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished, uncut answer, and the seconds it took when it was fresh."""

    text: str
    finish: Finish
    usage: Usage
    seconds: float
    stopped_by: str | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()

    @classmethod
    def of(cls, deltas: Sequence[Delta], done: Done, seconds: float) -> "Answer":
        """Return the answer that was given in these pieces."""
        text = "".join(delta.text for delta in deltas)
        logprobs = tuple(each for delta in deltas for each in delta.logprobs)
        return cls(text, done.finish, done.usage, seconds, done.stopped_by, logprobs)


def answer_key(identity: str, generation: Generation) -> str:
    """Return the name of the one answer that these give: hex SHA-256 of all of them.

    `identity` names the model's file and those of its settings that change its arithmetic.
    """
    shaping = dataclasses.asdict(generation)
    everything = [SCHEMA, identity, shaping | {"sampling": _numbers(shaping["sampling"])}]
    canonical = json.dumps(everything, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _numbers(value: Any) -> Any:
    """Return the value with every number in one spelling: 0, 0.0 and -0.0 are one temperature."""
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_numbers(item) for item in value]
    return None if value is None else float(value) + 0.0


class TextDisk(diskcache.Disk):  # type: ignore[misc]
    """Stores text inside SQLite and refuses to read anything else, whoever put it there."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Take a text key as it is."""
        return _only_text(key), True

    def get(self, key: Any, raw: bool) -> str:  # noqa: FBT001
        """Give a text key back."""
        del raw
        return _only_text(key)

    def store(
        self,
        value: Any,
        read: bool,  # noqa: FBT001
        key: Any = None,
    ) -> tuple[int, int, None, str]:
        """Store a text as it is, in the row itself."""
        del read, key
        return 0, diskcache.core.MODE_RAW, None, _only_text(value)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str:  # noqa: FBT001
        """Return a row's text; a pickled row or one that points to a file is not ours."""
        del read
        if mode != diskcache.core.MODE_RAW or filename is not None:
            raise ValueError(f"a cache row of mode {mode} is not ours")
        return _only_text(value)

    def remove(self, file_path: str) -> None:
        """Leave the file alone: rows of ours have none, so it is somebody else's."""


def _only_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the cache holds text, not {type(value).__name__}")
    return value


class ResultCache:
    """Answers on disk, shared by all processes of one user."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        """Keep about `size_bytes` of answers in `directory`, which is made when first needed."""
        self._directory = directory
        self._size_bytes = size_bytes
        self._is_broken = False
        self._thread = ThreadPoolExecutor(1, "cache")

    async def find_aside(self, key: str) -> Answer | None:
        """Do `find` in the cache's own thread: a busy database must not hold up the rest."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.find, key)

    def store_soon(self, key: str, answer: Answer) -> None:
        """Do `store` in the cache's own thread, before any later `find_aside` or `close`."""
        self._thread.submit(self.store, key, answer)

    def find(self, key: str) -> Answer | None:
        """Return the stored answer, or None."""
        text = self._guarded(lambda: self._database.get(key))
        return None if text is None else self._guarded(lambda: _parse(text))

    def store(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        text = json.dumps(dataclasses.asdict(answer), ensure_ascii=False)
        self._guarded(lambda: self._database.set(key, text))

    def close(self) -> None:
        """Close the database, where it was opened. Twice is fine."""
        self._close()
        with contextlib.suppress(RuntimeError):  # the thread has ended already
            self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _close(self) -> None:
        """Close this thread's connection: sqlite has one for each."""
        if "_database" in self.__dict__:
            self._database.close()

    @functools.cached_property
    def _database(self) -> "diskcache.Cache":
        make_private(self._directory)
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise  # locked, read-only, no room: not usable now, which is not damaged
        except sqlite3.DatabaseError as error:
            aside = self._directory.with_name(f"{self._directory.name}.damaged-{time.time_ns()}")
            self._directory.rename(aside)
            log.warning("the result cache was damaged (%s); it was set aside as %s", error, aside)
            make_private(self._directory)
            return self._open()

    def _open(self) -> "diskcache.Cache":
        self._refuse_locked()
        database = diskcache.Cache(
            str(self._directory),
            timeout=BUSY_SECONDS,
            disk=TextDisk,
            size_limit=self._size_bytes,
            eviction_policy="least-recently-used",
        )
        database.get("")  # a damaged table shows itself here, not in the middle of a request
        return database

    def _refuse_locked(self) -> None:
        """Raise OperationalError where another process holds the database: diskcache would try for
        a minute.
        """
        file = self._directory / diskcache.core.DBNAME
        if file.exists():
            with contextlib.closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as probe:
                probe.execute("BEGIN IMMEDIATE")
                probe.rollback()

    def _guarded(self, work: Callable[[], T]) -> T | None:
        """Do the work; where it fails, say so once and go on without the cache."""
        if self._is_broken:
            return None
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever a planted or damaged row sets off
            is_busy = isinstance(error, diskcache.Timeout) or "locked" in str(error)
            self._is_broken = not is_busy
            reason = str(error) or "another process holds it"
            log.warning("the result cache in %s is bypassed: %s", self._directory, reason)
            return None


def make_private(directory: Path) -> None:
    """Make the directory, for this user alone; PermissionError where it is somebody else's."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to user {status.st_uid}")
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def _parse(text: str) -> Answer:
    """Return a stored answer; ValueError where the row is not one."""
    match json.loads(text):
        case {
            "text": str(answer),
            "finish": "stop" | "length" as finish,
            "usage": {
                "prompt_tokens": int(prompt),
                "completion_tokens": int(completion),
                "cached_tokens": int(cached),
            },
            "seconds": float(seconds),
            "stopped_by": str() | None as stopped_by,
            "logprobs": list(logprobs),
        }:
            usage = Usage(prompt, completion, cached)
            chances = tuple(map(_parse_logprobs, logprobs))
            return Answer(answer, finish, usage, seconds, stopped_by, chances)
    raise ValueError("a stored row is not an answer")


def _parse_logprobs(stored: Any) -> TokenLogprobs:
    return TokenLogprobs(_parse_chance(stored["drawn"]), tuple(map(_parse_chance, stored["top"])))


def _parse_chance(stored: Any) -> Chance:
    return Chance(int(stored["token"]), tuple(stored["bytes"]), float(stored["logprob"]))
