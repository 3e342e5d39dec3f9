"""The note that a running server leaves, so that `ask` finds it: where it is and what it serves.

It knows neither server nor client; the two share it and nothing else.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_state_path

from modelrouter import kept_json


@dataclass(frozen=True)
class Note:
    """Where a server on this machine is, and what it serves: what it leaves for `find_server`."""

    url: str
    config: str
    policy: str

    @classmethod
    def read(cls) -> "Note | None":
        """Return the note of the server started last; None where there is none to be read."""
        try:
            return cls(**kept_json.read(cls.path()))
        except (OSError, ValueError, TypeError):
            return None

    @staticmethod
    def path() -> Path:
        """Return where the note lies."""
        return Path(user_state_path("modelrouter"), "server.json")

    def write(self) -> None:
        """Leave the note, in the place of any other; OSError where that cannot be."""
        kept_json.write(self.path(), asdict(self))

    def remove(self) -> None:
        """Take the note away, unless a newer server has put its own there."""
        if Note.read() == self:
            self.path().unlink(missing_ok=True)
