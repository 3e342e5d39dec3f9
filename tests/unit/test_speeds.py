"""What this box was measured to give: kept, read back, and never trusted blindly."""

import json
import logging
import time
from pathlib import Path

import pytest

from modelrouter.memory import speeds
from modelrouter.memory.speeds import Speed, speed_today

SPEED = Speed(7e10, "2026-11-25")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file whose folder is not there yet."""
    return tmp_path / "state" / "speeds.json"


def test_newer_speeds_take_the_place_of_older_ones(path: Path) -> None:
    """The others stay."""
    speeds.keep(path, {"memory/2": SPEED, "memory/4": SPEED})
    speeds.keep(path, {"memory/2": Speed(8e10, "2026-11-26")})
    assert speeds.read(path) == {"memory/2": Speed(8e10, "2026-11-26"), "memory/4": SPEED}


def kept(**changes: object) -> bytes:
    """Return a file with one speed that is not as it was."""
    return json.dumps(
        {"memory/2": {"bytes_per_second": 1.0, "measured_on": "2026-11-25", **changes}}
    ).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"a": 1}',
        kept(bytes_per_second=0),
        kept(bytes_per_second="1"),
        kept(bytes_per_second=float("nan")),
        kept(measured_on="yesterday"),
        kept(measured_on=3),
        kept(more=1),
    ],
)
def test_a_damaged_file_is_as_good_as_none(path: Path, content: bytes) -> None:
    """It is not trusted in any part, and the next speeds take its place."""
    path.parent.mkdir()
    path.write_bytes(content)
    assert speeds.read(path) == {}
    speeds.keep(path, {"memory/2": SPEED})
    assert speeds.read(path) == {"memory/2": SPEED}


def test_a_place_that_cannot_be_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is a warning: the speeds are measured again next time."""
    path.parent.write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        speeds.keep(path, {"memory/2": SPEED})
    assert "the speeds measured are not kept" in caplog.text


def test_disks_are_told_apart_by_their_files(tmp_path: Path) -> None:
    """Two files of one disk have one key; a file that is not there has none."""
    (tmp_path / "a").touch()
    assert speeds.of_disk(tmp_path / "a") == speeds.of_disk(tmp_path) is not None
    assert speeds.of_disk(tmp_path / "gone") is None


def test_seconds_are_bytes_over_speed() -> None:
    """And what was measured now has today's date."""
    before, speed, after = time.strftime("%F"), speed_today(1e9), time.strftime("%F")
    assert speed.seconds(5e8) == 0.5
    assert speed.measured_on in {before, after}
