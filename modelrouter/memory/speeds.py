"""What this box was measured to give, bytes a second each: its memory, its disks, llama.cpp.

A small JSON file in the user's state folder. What is damaged is as good as absent, and is measured
anew when somebody asks for it. It measures nothing itself.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from platformdirs import user_state_path

from modelrouter import kept_json

log = logging.getLogger(__name__)


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
        return {str(key): _speed(value) for key, value in kept_json.read(path).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(path: Path, speeds: Mapping[str, Speed]) -> None:
    """Add speeds to those in the file, in the place of older ones.

    Where nothing can be written they are measured again next time.
    """
    known = {**read(path), **speeds}
    try:
        kept_json.write(path, {key: asdict(speed) for key, speed in known.items()})
    except OSError as error:
        log.warning("the speeds measured are not kept: %s", error)


def _speed(value: Mapping[str, object]) -> Speed:
    found = Speed(**value)  # type: ignore[arg-type]
    if not isinstance(found.bytes_per_second, int | float) or not 0 < found.bytes_per_second < 1e15:
        raise ValueError("not a speed")
    date.fromisoformat(found.measured_on)
    return found
