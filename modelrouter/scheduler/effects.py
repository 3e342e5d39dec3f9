"""The words between the scheduler's core and whoever carries its decisions out.

Plain values; nothing here decides or does anything.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from modelrouter.errors import ModelRouterError


class Priority(enum.IntEnum):
    """Who goes first where several wait: an editor, then a chat, then a program's side job."""

    INTERACTIVE = 0
    NORMAL = 1
    BACKGROUND = 2


@dataclass(frozen=True, slots=True)
class Needs:
    """What the core knows of a model. A resident one, once loaded, is never evicted.

    `pinnable_bytes` are mapped weights that may be pinned while it is loaded; they come on top of
    the footprint. `load_seconds` is a first guess; the core measures for itself.
    """

    footprint_bytes: int
    slots: int
    is_resident: bool
    pinnable_bytes: int = 0
    load_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request's wish for a slot of a model; ids grow in the order of arrival.

    `since` is when it came, `deadline` when it is no use any more, both in seconds of the caller's
    clock. `may_wait` False: only for a load, never for other requests.
    """

    id: int
    model: str
    since: float
    priority: Priority = Priority.NORMAL
    may_wait: bool = True
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """The ticket has a slot of the model until `left` is told."""

    ticket: int
    model: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The ticket's end: it will get no slot, for this reason."""

    ticket: int
    error: ModelRouterError


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model, then tell `loaded` or `load_failed`."""

    model: str


@dataclass(frozen=True, slots=True)
class Unload:
    """End the model's worker (or its load), then tell `unloaded`."""

    model: str


@dataclass(frozen=True, slots=True)
class Pin:
    """Let the loaded model pin so many bytes of its weights, no more; then tell `pinned`."""

    model: str
    size_bytes: int


Effect: TypeAlias = Grant | Refuse | Load | Unload | Pin
