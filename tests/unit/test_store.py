"""Footprints on disk: what was kept is found again, and no damage is more than a gap."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from modelrouter.kept_json import MOST_BYTES
from modelrouter.memory import store
from modelrouter.memory.footprint import Footprint
from modelrouter.memory.store import MOST_FOOTPRINTS

TOLD = Footprint(
    plain_bytes=1,
    repacked_bytes=2,
    kv_bytes=3,
    compute_bytes=4,
    output_bytes=5,
    worker_bytes=6,
    mapped_bytes=7,
    origin="llama.cpp",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file shall be; its folder is not there yet."""
    return tmp_path / "cache" / "footprints.json"


def test_what_was_written_is_read(path: Path) -> None:
    """Equal footprints under equal keys, and nothing before anything was written."""
    assert store.read(path) == {}
    store.write(path, {"a": TOLD, "b": TOLD})
    assert store.read(path) == {"a": TOLD, "b": TOLD}


def test_the_newest_are_kept(path: Path) -> None:
    """The file stays small however many settings are tried."""
    store.write(path, {str(number): TOLD for number in range(MOST_FOOTPRINTS + 10)})
    kept = list(store.read(path))
    assert kept == [str(number) for number in range(10, MOST_FOOTPRINTS + 10)]
    assert path.stat().st_size < MOST_BYTES


def changed(**changes: object) -> bytes:
    """Return the bytes of a file whose one footprint is not as it was."""
    return json.dumps({"a": asdict(TOLD) | changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"a": 1}',
        b'{"a": {}}',
        changed(kv_bytes=-1),
        changed(kv_bytes=1.5),
        changed(kv_bytes=True),
        changed(kv_bytes="3"),
        changed(other_bytes=1),
        changed(origin="formula"),
    ],
)
def test_a_damaged_file_is_as_good_as_none(path: Path, content: bytes) -> None:
    """It is not trusted in any part, and the next footprints take its place."""
    path.parent.mkdir()
    path.write_bytes(content)
    assert store.read(path) == {}
    store.write(path, {"b": TOLD})
    assert store.read(path) == {"b": TOLD}


def test_a_folder_that_cannot_be_made(path: Path) -> None:
    """Nothing is kept, and nothing fails."""
    path.parent.write_text("a file stands where the folder should be")
    store.write(path, {"a": TOLD})
    assert store.read(path) == {}
