"""A small file of this user's: whole or not there, and read as what anything may have happened to.

What footprints, speeds, rates and the server's note have in common; each tests its own content.
"""

import stat
from pathlib import Path

import pytest

from modelrouter import kept_json
from modelrouter.kept_json import MOST_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file shall be; its folder is not there yet."""
    return tmp_path / "state" / "kept.json"


def test_what_was_written_is_read(path: Path) -> None:
    """The latest, and nothing else is left in the folder; nothing is read before."""
    with pytest.raises(FileNotFoundError):
        kept_json.read(path)
    kept_json.write(path, {"é": [1, 2.5, None]})
    kept_json.write(path, {"b": {}})
    assert kept_json.read(path) == {"b": {}}
    assert list(path.parent.iterdir()) == [path]


def test_it_is_this_users_alone(path: Path) -> None:
    """Others may not look into the folder."""
    kept_json.write(path, {})
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\0\xff", "Expecting value"),
        (b'"\xff"', "codec can't decode"),
        (b'{"a": 1', "Expecting ',' delimiter"),
        (b"[" * 100_000, "it nests too deep"),
        (b"{}" + b" " * MOST_BYTES, "it has 262,146 bytes, and 262,144 are the most"),
    ],
)
def test_what_is_no_json_of_ours(path: Path, content: bytes, why: str) -> None:
    """A ValueError says why, and the next value takes its place."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=why):
        kept_json.read(path)
    kept_json.write(path, [])
    assert kept_json.read(path) == []


def test_a_folder_that_cannot_be_made(path: Path) -> None:
    """The reason is told."""
    path.parent.write_text("a file stands where the folder should be")
    with pytest.raises(FileExistsError):
        kept_json.write(path, {})


def test_a_file_that_cannot_be_replaced(path: Path) -> None:
    """What was begun is cleaned away."""
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        kept_json.write(path, {})
    assert list(path.parent.iterdir()) == [path]
