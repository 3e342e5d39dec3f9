"""How long a model takes for a token, by the laws of memory: bytes over bytes a second.

Arithmetic only: it measures nothing and knows no machine. docs/memory.md says how far off it was.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelrouter.gguf import GgufFacts
from modelrouter.gguf.tensors import Use, uses
from modelrouter.memory.speeds import Speed

Limit: TypeAlias = Literal["memory", "CPU", "disk"]
"""What keeps a model from being faster."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one token makes a model read: all in all, and how much of that from its disk."""

    touched_bytes: int
    streamed_bytes: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds a token, by each of the things that could be the limit. None: it is not known."""

    memory_seconds: float | None
    cpu_seconds: float | None
    disk_seconds: float | None

    @property
    def seconds(self) -> float | None:
        """The longest of them; None where one is missing that would count."""
        slowest = self.slowest
        return None if slowest is None else slowest[1]

    @property
    def limit(self) -> Limit | None:
        """What takes the longest."""
        slowest = self.slowest
        return None if slowest is None else slowest[0]

    @property
    def slowest(self) -> tuple[Limit, float] | None:
        """The limit and its seconds. The CPU's may be missing: memory's stand for them."""
        if self.memory_seconds is None or self.disk_seconds is None:
            return None
        each: dict[Limit, float] = {
            "disk": self.disk_seconds,
            "memory": self.memory_seconds,
            "CPU": self.cpu_seconds or 0.0,
        }
        return max(each.items(), key=lambda item: item[1])


def touched_bytes(facts: GgufFacts) -> int:
    """Return the weights that one token reads: of experts those used, of what is looked up none."""
    experts = facts.expert_used_count / facts.expert_count if facts.expert_count else 1.0
    shares: dict[Use, float] = {"whole": 1.0, "experts": experts, "rows": 0.0}
    return int(sum(tensor.n_bytes * shares[use] for tensor, use in uses(facts.tensors)))


def one_pass(facts: GgufFacts, *, kept_bytes: int, cache_bytes: int) -> Pass:
    """Return what a token reads where `kept_bytes` of the weights stay in memory.

    The rest goes through `cache_bytes` of page cache. Where it fits in there it stays. Where it
    does not, nothing of it does: read in a circle, each page has been dropped when its turn comes.
    """
    touched, weights = touched_bytes(facts), facts.weights_bytes
    left_bytes = max(0, weights - kept_bytes)
    share = left_bytes / weights if left_bytes > cache_bytes else 0.0
    return Pass(touched, int(touched * share))


def pace(
    one: Pass, *, memory: Speed | None, decoding: Speed | None = None, disk: Speed | None = None
) -> Pace:
    """Return the pace of a model whose every token reads so much.

    `memory` is what the threads read at most, `decoding` what llama.cpp works off of such weights.
    """
    return Pace(
        memory_seconds=None if memory is None else memory.seconds(one.touched_bytes),
        cpu_seconds=None if decoding is None else decoding.seconds(one.touched_bytes),
        disk_seconds=_disk_seconds(one, disk),
    )


def _disk_seconds(one: Pass, disk: Speed | None) -> float | None:
    if not one.streamed_bytes:
        return 0.0
    return None if disk is None else disk.seconds(one.streamed_bytes)
