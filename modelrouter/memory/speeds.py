"""What this box was measured to give, bytes a second each: its memory, its disks, llama.cpp.

A small JSON file in the user's state folder. What is damaged is as good as absent, and is measured
anew when somebody asks for it. It measures nothing itself.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from platformdirs import user_state_path

log = logging.getLogger(__name__)

MOST_BYTES = 2**16
"""A longer file is not ours: a speed takes 100 bytes."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes a second, and the day (ISO 8601) on which they were measured."""

    bytes_per_second: float
    measured_on: str

    def seconds(self, n_bytes: float) -> float:
        """Return how long so many bytes take."""
        return n_bytes / self.bytes_per_second


def speed_today(bytes_per_second: float) -> Speed:
    """Return a speed that was measured just now."""
    return Speed(bytes_per_second, date.today().isoformat())  # noqa: DTZ011 - the person's own day


def of_memory(threads: int) -> str:
    """Return the key of what so many threads read from memory."""
    return f"memory/{threads}"


def of_disk(file: Path) -> str | None:
    """Return the key of the disk that a file lies on; None where there is no such file."""
    try:
        return f"disk/{file.stat().st_dev}"
    except OSError:
        return None


def of_decoding(weights_type: str, threads: int) -> str:
    """Return the key of the weights that llama.cpp works off as it decodes, from memory."""
    return f"decoding/{weights_type}/{threads}"


def kept_in() -> Path:
    """Return where this user's speeds are."""
    return Path(user_state_path("modelrouter"), "speeds.json")


def read(path: Path) -> dict[str, Speed]:
    """Return the speeds by their keys; none where the file is not sound."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        return {str(key): _speed(value) for key, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}


def keep(path: Path, speeds: Mapping[str, Speed]) -> None:
    """Add speeds to those in the file, in the place of older ones.

    Where nothing can be written they are measured again next time.
    """
    text = json.dumps({key: asdict(speed) for key, speed in {**read(path), **speeds}.items()})
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        log.warning("the speeds measured are not kept: %s", error)


def _speed(value: Mapping[str, object]) -> Speed:
    found = Speed(**value)  # type: ignore[arg-type]
    if not isinstance(found.bytes_per_second, int | float) or not 0 < found.bytes_per_second < 1e15:
        raise ValueError("not a speed")
    date.fromisoformat(found.measured_on)
    return found
