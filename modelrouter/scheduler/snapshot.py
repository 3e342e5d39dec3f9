"""What others may see of the scheduler: forecasts for the policy, the state of the box, and what
a request waits for.

Values made from the books at one moment; nothing here is read by a decision of the core.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from modelrouter.forecast import ModelForecast, ModelState
from modelrouter.scheduler.books import Books
from modelrouter.scheduler.rates import Rate
from modelrouter.scheduler.room import Room
from modelrouter.trace import Fact


@dataclass(frozen=True, slots=True)
class Worker:
    """What is known of a model's worker: its process, and how much is done of a load, or of pinning
    what it was last told to pin (0 to 1; None where neither goes on).
    """

    pid: int | None = None
    loaded_share: float | None = None
    pinned_share: float | None = None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model's place in the house; bytes are what the ledger has."""

    model: str
    state: ModelState
    is_resident: bool
    footprint_bytes: int
    pinned_bytes: int
    slots: int
    active: int
    waiting: int
    load_seconds: float
    loaded_share: float | None
    pinned_share: float | None
    pid: int | None
    failures: int
    problem: str | None

    @property
    def doing(self) -> str:
        """What a load or an unload of it waits for, in words."""
        match self.state:
            case ModelState.LOADING:
                return loading(self.model, self.loaded_share)
            case ModelState.READY:
                return f"waiting for {self.model}: {self.active} of {self.slots} slots in use"
            case ModelState.UNLOADING:
                return f"unloading {self.model}"
            case _:
                return f"waiting until {self.model} can be loaded"

    def to_json(self) -> dict[str, Fact]:
        """Return it as plain values."""
        return {**asdict(self), "state": self.state.value}


@dataclass(frozen=True, slots=True)
class Status:
    """The whole house at one moment."""

    budget_bytes: int
    used_bytes: int
    models: tuple[ModelStatus, ...]

    def of(self, model: str) -> ModelStatus:
        """Return the place of one model, which is one of the house."""
        return next(each for each in self.models if each.model == model)

    def to_json(self) -> dict[str, Fact]:
        """Return it as plain values."""
        return {
            "budget_bytes": self.budget_bytes,
            "used_bytes": self.used_bytes,
            "models": [model.to_json() for model in self.models],
        }


@dataclass(frozen=True, slots=True)
class Wait:
    """What a request waits for, from its arrival to its first text; `str` says it to a person.

    `before` requests are served before it; None once it has its slot. The shares are the worker's.
    """

    model: str
    state: ModelState
    before: int | None
    loaded_share: float | None
    pinned_share: float | None

    def __str__(self) -> str:
        if self.before is None and self.pinned_share is not None:
            share = f"{self.pinned_share:.0%}"
            return f"{self.model} is reading the prompt; {share} of what stays in memory is there"
        if self.before is None:
            return f"{self.model} is reading the prompt"
        if self.state is ModelState.LOADING:
            return loading(self.model, self.loaded_share)
        if self.before > 0:
            return f"waiting for {self.model}: {self.before} before you"
        if self.state is ModelState.READY:
            return f"waiting for {self.model}: you are next"
        return f"waiting until {self.model} can be loaded"


def status(books: Books, workers: Mapping[str, Worker]) -> Status:
    """Return the state of the box."""
    models = (_status(n, r, workers.get(n, Worker())) for n, r in books.rooms.items())
    return Status(books.budget_bytes, books.used_bytes, tuple(models))


def _status(name: str, room: Room, worker: Worker) -> ModelStatus:
    return ModelStatus(
        model=name,
        state=room.state,
        is_resident=room.needs.is_resident,
        footprint_bytes=room.needs.footprint_bytes,
        pinned_bytes=room.pin_held_bytes,
        slots=room.needs.slots,
        active=len(room.leases),
        waiting=len(room.waiting),
        load_seconds=round(room.load_seconds, 3),
        loaded_share=worker.loaded_share,
        pinned_share=worker.pinned_share,
        pid=worker.pid,
        failures=room.failures,
        problem=None if room.problem is None else room.problem.message,
    )


def wait(books: Books, ticket_id: int, workers: Mapping[str, Worker]) -> Wait | None:
    """Return what a request waits for; None where it has left, or was refused."""
    for name, room in books.rooms.items():
        line = [ticket.id for ticket in room.line(books.now, books.patience_seconds)]
        if ticket_id in line or ticket_id in room.leases:
            before = line.index(ticket_id) if ticket_id in line else None
            worker = workers.get(name, Worker())
            return Wait(name, room.state, before, worker.loaded_share, worker.pinned_share)
    return None


def loading(model: str, loaded_share: float | None) -> str:
    """Say how far a load is, where that is known."""
    return f"loading {model}" if loaded_share is None else f"loading {model} {loaded_share:.0%}"


def forecast(books: Books, model: str, rate: Rate, worker: Worker, now: float) -> ModelForecast:
    """Return what the policy may know of a model."""
    room = books.rooms[model]
    return ModelForecast(
        state=room.state,
        fits=books.never_fits(model) is None,
        free_slots=room.free_slots if room.grants else 0,
        waiting=len(room.waiting),
        load_seconds=_load_seconds(books, model, rate, worker, now),
        queue_seconds=_queue_seconds(room, rate),
        prefill_tokens_per_second=rate.prefill_tokens_per_second,
        decode_tokens_per_second=rate.decode_tokens_per_second,
    )


def _load_seconds(books: Books, model: str, rate: Rate, worker: Worker, now: float) -> float | None:
    """Return what is left of the load; None where nobody knows, or others must finish first."""
    room = books.rooms[model]
    if room.state is ModelState.READY:
        return 0.0
    if rate.load_seconds is None:
        return None
    if room.state is ModelState.LOADING:
        gone = now - room.load_began
        if worker.loaded_share:
            return gone / worker.loaded_share - gone
        return max(0.0, rate.load_seconds - gone)
    needs_others_to_end = books.missing_bytes_for(model) > books.footprints(books.idle())
    return None if needs_others_to_end else rate.load_seconds


def _queue_seconds(room: Room, rate: Rate) -> float | None:
    """Return the seconds until a slot is free for one more: those before it, an answer each."""
    before = len(room.leases) + len(room.waiting) + 1 - room.needs.slots
    if before <= 0:
        return 0.0
    if rate.seconds_an_answer is None:
        return None
    return before * rate.seconds_an_answer / room.needs.slots
