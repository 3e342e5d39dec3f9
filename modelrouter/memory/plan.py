"""Who gets which part of the budget: residents first, then the others, then pins; arithmetic only.

Pure: bytes in, bytes out. It knows no process, no queue and no clock; `scheduler/core.py` keeps the
books from moment to moment, and both count by the rules written here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to run a model: tokens for each slot, slots, and the bytes a worker then needs."""

    context_tokens: int
    slots: int
    footprint_bytes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What a model would like: shapes from the widest to the narrowest it can live with.

    `pinnable_bytes` are its mapped weights: the more of them are pinned, the less is read from disk
    for each token. A resident model has none; its weights are in its footprint.
    """

    model: str
    is_resident: bool
    shapes: tuple[Shape, ...]
    pinnable_bytes: int = 0

    @property
    def narrowest(self) -> Shape:
        """The least it can live with."""
        return self.shapes[-1]


@dataclass(frozen=True, slots=True)
class Share:
    """What a model gets. `shape` None: it can never be loaded beside the resident models.

    `pinned_bytes` is what it may pin while it is the only one loaded beside the resident ones.
    """

    wish: Wish
    shape: Shape | None
    pinned_bytes: int

    @property
    def is_narrowed(self) -> bool:
        """True where the budget did not allow the widest shape."""
        return self.shape is not None and self.shape != self.wish.shapes[0]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everybody's share, in the order of the wishes."""

    budget_bytes: int
    shares: tuple[Share, ...]

    @property
    def resident_bytes(self) -> int:
        """What the resident models have for good."""
        return sum(
            share.shape.footprint_bytes
            for share in self.shares
            if share.wish.is_resident and share.shape is not None
        )


def plan(budget_bytes: int, wishes: Sequence[Wish]) -> Plan:
    """Return who gets what of the budget.

    1. Resident models, in their order, as narrow as they may be. One that does not fit beside those
       before it gets nothing.
    2. They are widened, in their order, as far as the largest of the others still has room.
    3. Each other model gets the widest shape that fits beside the resident ones, and may pin its
       weights with every byte that is left then.
    """
    residents = [wish for wish in wishes if wish.is_resident]
    narrow = {wish.model: wish.narrowest.footprint_bytes for wish in residents}
    standing = fitting(budget_bytes, narrow)
    shapes = {wish.model: wish.narrowest for wish in residents if wish.model in standing}
    resident_bytes = sum(standing.values())
    others = [wish for wish in wishes if not wish.is_resident]
    room_bytes = budget_bytes - resident_bytes
    kept_bytes = _largest_that_fits((w.narrowest.footprint_bytes for w in others), room_bytes)
    for wish in residents:
        if wish.model in shapes:
            now_bytes = shapes[wish.model].footprint_bytes
            most_bytes = budget_bytes - resident_bytes - kept_bytes + now_bytes
            shapes[wish.model] = _widest(wish, most_bytes) or shapes[wish.model]
            resident_bytes += shapes[wish.model].footprint_bytes - now_bytes
    room_bytes = budget_bytes - resident_bytes
    for wish in others:
        if (shape := _widest(wish, room_bytes)) is not None:
            shapes[wish.model] = shape
    return Plan(budget_bytes, tuple(_share(w, shapes.get(w.model), room_bytes) for w in wishes))


def fitting(budget_bytes: int, footprints: Mapping[str, int]) -> dict[str, int]:
    """Return those of the `footprints` that fit together, first come first served."""
    found: dict[str, int] = {}
    for model, footprint_bytes in footprints.items():
        if sum(found.values()) + footprint_bytes <= budget_bytes:
            found[model] = footprint_bytes
    return found


def share_pins(free_bytes: int, pinnable: Mapping[str, int]) -> dict[str, int]:
    """Return how many bytes each model may pin, the first in order first.

    Not in equal parts: a pass reads W - R bytes of W, so a byte pinned for the model that has most
    of its weights pinned already saves the larger share of its time.
    """
    pins: dict[str, int] = {}
    for model, most_bytes in pinnable.items():
        pins[model] = max(0, min(free_bytes, most_bytes))
        free_bytes -= pins[model]
    return pins


def fewest(missing_bytes: int, candidates: Mapping[str, int]) -> list[str]:
    """Return candidates (bytes by name, in order of preference) that make up for what is missing.

    All of them where they do not suffice. None is superfluous: whom the others make up for is let
    off, the least preferred first.
    """
    spare_bytes = sum(candidates.values()) - missing_bytes
    chosen: list[str] = []
    for name, size_bytes in reversed(list(candidates.items())):
        if size_bytes <= spare_bytes:
            spare_bytes -= size_bytes
        else:
            chosen.append(name)
    return chosen[::-1]


def _share(wish: Wish, shape: Shape | None, room_bytes: int) -> Share:
    if shape is None or wish.is_resident:
        return Share(wish, shape, 0)
    left_bytes = room_bytes - shape.footprint_bytes
    return Share(wish, shape, share_pins(left_bytes, {wish.model: wish.pinnable_bytes})[wish.model])


def _widest(wish: Wish, most_bytes: int) -> Shape | None:
    return next((shape for shape in wish.shapes if shape.footprint_bytes <= most_bytes), None)


def _largest_that_fits(footprints: Iterable[int], room_bytes: int) -> int:
    return max((size for size in footprints if size <= room_bytes), default=0)
