"""What came of a rehearsal, and what follows from it: the limit, and what more memory would bring.

Values and arithmetic; it runs nothing and reads no clock.
"""

from dataclasses import asdict, dataclass
from typing import Any

from modelrouter.memory.pace import Limit

LEAST_READ = 1e-3
"""Of what a token touches; less from disk is other pages of the worker's."""

BUDGETS_BYTES = tuple(gib * 2**30 for gib in (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))
"""The memory that people put into boxes."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Answers decoded at the same time: seconds a token of each, and of all together."""

    at_once: int
    tokens: int
    seconds_a_token: float

    @property
    def seconds_a_token_of_all(self) -> float:
        """How often a token comes from any of them."""
        return self.seconds_a_token / self.at_once


@dataclass(frozen=True, slots=True)
class Prefill:
    """A prompt of so many tokens, read in so many seconds."""

    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """How fast a prompt is read."""
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Box:
    """What this box gives, bytes a second each, and has for models beside the resident ones.

    None: it could not be measured. `decoding` is what llama.cpp works off of such weights.
    """

    memory: float
    disk: float | None
    decoding: float | None
    budget_bytes: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a rehearsal measured of a model.

    `touched_bytes` are the weights that a token reads, `streamed_bytes` those of them that are not
    pinned and do not fit the page cache, as predicted; `read_bytes` came from disk for a token, as
    the kernel counted (None: it does not say). `predicted_seconds` a token were expected before.
    """

    model: str
    file_bytes: int
    weights_bytes: int
    written_seconds: float | None
    footprint_bytes: int
    context_tokens: int
    slots: int
    is_narrowed: bool
    is_resident: bool
    load_seconds: float
    pin_seconds: float
    pinned_bytes: int
    touched_bytes: int
    streamed_bytes: int
    predicted_seconds: float | None
    alone: Decoding
    together: Decoding | None
    prefill: Prefill
    read_bytes: int | None
    box: Box

    @property
    def from_disk_bytes(self) -> int:
        """What a token reads from disk: as the kernel counted, or else as predicted."""
        read_bytes = self.streamed_bytes if self.read_bytes is None else self.read_bytes
        return read_bytes if read_bytes >= LEAST_READ * self.touched_bytes else 0

    @property
    def disk_seconds(self) -> float:
        """What of a token's time its disk takes at full speed."""
        return self.from_disk_bytes / self.box.disk if self.box.disk else 0.0

    @property
    def disk_bytes_per_second(self) -> float | None:
        """What the disk gave while tokens were decoded one at a time; None where nothing is known.

        Reading goes on while the CPU works, so that it may be less than the disk could give.
        """
        return None if self.read_bytes is None else self.read_bytes / self.alone.seconds_a_token

    @property
    def limit(self) -> Limit:
        """What takes most of a token's time, alone; what neither disk nor memory explains is the
        CPU's.
        """
        others = max(self.disk_seconds, self.memory_seconds)
        if others < self.alone.seconds_a_token - others:
            return "CPU"
        return "disk" if self.disk_seconds >= self.memory_seconds else "memory"

    @property
    def memory_seconds(self) -> float:
        """What of a token's time memory takes at full speed."""
        return self.touched_bytes / self.box.memory

    @property
    def more_memory(self) -> dict[int, float]:
        """Return seconds a token by budgets larger than this one, up to the one that has it all.

        What the disk takes shrinks with what is not pinned, down to what memory and CPU take.
        """
        seconds, streamed = self.alone.seconds_a_token, self.weights_bytes - self.pinned_bytes
        if not self.from_disk_bytes or streamed <= 0:
            return {}
        by_law = self.touched_bytes / min(self.box.memory, self.box.decoding or self.box.memory)
        rest = max(by_law, seconds - self.disk_seconds)
        whole_bytes = self.box.budget_bytes + streamed
        larger = [size for size in BUDGETS_BYTES if self.box.budget_bytes < size < whole_bytes]
        return {
            size: max(rest, seconds * (whole_bytes - size) / streamed)
            for size in [*larger, whole_bytes]
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, with what follows from it."""
        return {
            **asdict(self),
            "prefill_tokens_per_second": self.prefill.tokens_per_second,
            "disk_bytes_per_second": self.disk_bytes_per_second,
            "limit": self.limit,
            "more_memory": [
                {"budget_bytes": size, "seconds_a_token": seconds}
                for size, seconds in self.more_memory.items()
            ],
        }
