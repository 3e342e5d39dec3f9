"""The result cache on a real disk: what is kept, and what is never trusted.

Every damage here is done to the SQLite file by hand. It knows nothing of routers or models.
"""

import json
import logging
import pickle
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from modelrouter.cache import Answer, ResultCache
from modelrouter.generation import Usage
from modelrouter.tokens import Chance, TokenLogprobs

ANSWER = Answer(
    'It says "hi" \u2014 caf\u00e9\n',
    "stop",
    Usage(12, 5, 3),
    1.25,
    stopped_by="END",
    logprobs=(TokenLogprobs(Chance(7, (0xC3,), -0.5), (Chance(9, (65, 66), -0.25),)),),
)

LARGE = 2**20
MODE_RAW, MODE_BINARY, MODE_TEXT, MODE_PICKLE = 1, 2, 3, 4


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the cache lives; nobody has made it yet."""
    return tmp_path / "cache" / "results"


@pytest.fixture
def cache(directory: Path) -> Iterator[ResultCache]:
    """A cache that nobody has used yet."""
    made = ResultCache(directory, LARGE)
    yield made
    made.close()


def in_database(directory: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """Do something to the SQLite file behind the cache's back."""
    with closing(sqlite3.connect(directory / "cache.db")) as database, database:
        return database.execute(statement, values).fetchall()


def plant(directory: Path, mode: int, filename: str | None, value: object) -> None:
    """Make the row of the key "key" one that the cache never wrote."""
    with closing(ResultCache(directory, LARGE)) as cache:
        cache.store("key", ANSWER)
    in_database(
        directory, "UPDATE Cache SET mode = ?, filename = ?, value = ?", mode, filename, value
    )


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings so far."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_what_was_stored_is_found(cache: ResultCache, directory: Path) -> None:
    """An answer comes back as it was, here and in a later process; another key finds nothing."""
    cache.store("key", ANSWER)
    assert cache.find("key") == ANSWER
    assert cache.find("other") is None
    with closing(ResultCache(directory, LARGE)) as later:
        assert later.find("key") == ANSWER


def test_a_new_answer_replaces_the_old(cache: ResultCache) -> None:
    """The last answer of a key is the one that is found."""
    cache.store("key", Answer("old", "length", Usage(1, 1, 0), 0.5))
    cache.store("key", ANSWER)
    assert cache.find("key") == ANSWER


def test_the_cache_stays_small(directory: Path) -> None:
    """The answers unused for longest go when the size is reached; the last one stays."""
    with closing(ResultCache(directory, 256 * 1024)) as cache:
        for number in range(100):
            cache.store(str(number), Answer("x" * 20_000, "stop", ANSWER.usage, 1.0))
        assert cache.find("0") is None
        assert cache.find("99") is not None
    assert (directory / "cache.db").stat().st_size < LARGE


def test_nothing_is_made_before_it_is_needed(directory: Path, cache: ResultCache) -> None:
    """Making and closing a cache leaves no trace on disk."""
    cache.close()
    assert not directory.exists()


def test_the_directory_is_the_users_alone(directory: Path, cache: ResultCache) -> None:
    """0700, also where it was there before and open to others."""
    directory.mkdir(parents=True, mode=0o755)
    cache.store("key", ANSWER)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_planted_pickle_is_never_opened(
    directory: Path, cache: ResultCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pickled row is refused with one warning, not executed, and the cache is not used again."""
    trapped = tmp_path / "trapped"
    plant(directory, MODE_PICKLE, None, pickle.dumps(Trap(trapped)))
    assert cache.find("key") is None
    assert cache.find("key") is None
    cache.store("key", ANSWER)
    assert not trapped.exists()
    assert warnings(caplog) == [
        f"the result cache in {directory} is bypassed: a cache row of mode 4 is not ours"
    ]


def test_a_pickle_in_a_text_row_is_only_a_text_that_is_none(
    directory: Path, cache: ResultCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes where a text should be are refused, whatever they hold."""
    trapped = tmp_path / "trapped"
    plant(directory, MODE_RAW, None, pickle.dumps(Trap(trapped)))
    assert cache.find("key") is None
    assert not trapped.exists()
    assert warnings(caplog) == [
        f"the result cache in {directory} is bypassed: the cache holds text, not bytes"
    ]


@pytest.mark.parametrize("mode", [MODE_RAW, MODE_BINARY, MODE_TEXT, MODE_PICKLE])
def test_a_planted_file_row_reads_no_file(
    mode: int, directory: Path, cache: ResultCache, tmp_path: Path
) -> None:
    """A row that points to a file gives nothing of it away."""
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"text": "secret"}))
    plant(directory, mode, str(secret), None)
    assert cache.find("key") is None


def test_a_planted_file_row_removes_no_file(
    directory: Path, cache: ResultCache, tmp_path: Path
) -> None:
    """Replacing a row that points to a file outside leaves the file where it is."""
    precious = tmp_path / "precious"
    precious.touch()
    plant(directory, MODE_TEXT, str(precious), None)
    cache.store("key", ANSWER)
    assert precious.exists()
    assert cache.find("key") == ANSWER


def row(**changes: object) -> str:
    """Return how an answer is stored, with some of it replaced."""
    return json.dumps(asdict(ANSWER) | changes)


@pytest.mark.parametrize(
    "damaged",
    [
        "no JSON",
        "[]",
        "{}",
        row(text=5),
        row(finish="cancelled"),
        row(seconds="1"),
        row(usage={}),
        row(stopped_by=5),
        row(logprobs=None),
        row(logprobs=[{}]),
        row(logprobs=[{"drawn": {"token": 1, "bytes": [], "logprob": None}, "top": []}]),
        "[" * 100_000,
    ],
)
def test_a_row_of_the_wrong_shape_is_no_answer(
    damaged: str, directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Text that is not an answer is refused with one warning and no crash."""
    plant(directory, MODE_RAW, None, damaged)
    assert cache.find("key") is None
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE Cache RENAME COLUMN value TO worth",
        "INSERT INTO Settings VALUES ('disk_nonsense', 1)",
        "INSERT INTO Settings VALUES ('directory', 1)",
        "INSERT INTO Settings VALUES ('sqlite_nonsense', X'00')",
    ],
)
def test_a_database_of_the_wrong_shape_is_bypassed(
    statement: str, directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Tables that are not as the library makes them: one warning, no crash, answers go on."""
    plant(directory, MODE_RAW, None, "x")
    in_database(directory, statement)
    assert cache.find("key") is None
    cache.store("key", ANSWER)
    assert len(warnings(caplog)) == 1


def test_a_damaged_database_is_set_aside(
    directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says where it went; a fresh cache takes its place at once."""
    directory.mkdir(parents=True)
    (directory / "cache.db").write_bytes(b"This is no database at all. " * 100)
    assert cache.find("key") is None
    cache.store("key", ANSWER)
    assert cache.find("key") == ANSWER
    (aside,) = directory.parent.glob("results.damaged-*")
    assert (aside / "cache.db").read_bytes().startswith(b"This is no database")
    assert warnings(caplog) == [
        f"the result cache was damaged (file is not a database); it was set aside as {aside}"
    ]


def test_a_file_where_the_directory_should_be_is_left_alone(
    directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """A place that cannot be used is bypassed with one warning."""
    directory.parent.mkdir()
    directory.write_text("mine")
    cache.store("key", ANSWER)
    assert cache.find("key") is None
    assert directory.read_text() == "mine"
    assert warnings(caplog) == [
        f"the result cache in {directory} is bypassed: [Errno 17] File exists: '{directory}'"
    ]


def test_a_database_that_cannot_be_opened_is_not_set_aside(
    directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not usable just now is bypassed where it is: it may be whole."""
    (directory / "cache.db").mkdir(parents=True)
    cache.store("key", ANSWER)
    assert cache.find("key") is None
    assert list(directory.parent.iterdir()) == [directory]
    assert warnings(caplog) == [
        f"the result cache in {directory} is bypassed: unable to open database file"
    ]


def test_a_place_of_another_users_is_bypassed(caplog: pytest.LogCaptureFixture) -> None:
    """A directory that somebody else could have filled is not trusted."""
    with closing(ResultCache(Path("/proc/1/task"), LARGE)) as cache:
        cache.store("key", ANSWER)
        assert cache.find("key") is None
    assert len(warnings(caplog)) == 1


def test_a_busy_database_is_passed_over_once(
    directory: Path, cache: ResultCache, caplog: pytest.LogCaptureFixture
) -> None:
    """While another process holds it, an answer goes unstored; afterwards the cache works on."""
    cache.store("key", ANSWER)
    with closing(sqlite3.connect(directory / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        cache.store("other", ANSWER)
        other.execute("ROLLBACK")
    assert cache.find("other") is None
    assert cache.find("key") == ANSWER
    assert warnings(caplog) == [
        f"the result cache in {directory} is bypassed: another process holds it"
    ]


WRITER = """\
import sys
from pathlib import Path
from modelrouter.cache import Answer, ResultCache
from modelrouter.generation import Usage

cache = ResultCache(Path(sys.argv[1]), 2**20)
for number in range(50):
    cache.store(f"{sys.argv[2]}/{number}", Answer(sys.argv[2], "stop", Usage(1, 1, 0), 1.0))
cache.close()
"""


def test_two_processes_share_it(directory: Path, cache: ResultCache) -> None:
    """Both may be the first to make it; each finds what the other stored, and neither complains."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    writers = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in "ab"
    ]
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    keys = [f"{name}/{number}" for name in "ab" for number in range(50)]
    assert [answer.text for key in keys if (answer := cache.find(key))] == ["a"] * 50 + ["b"] * 50
