"""What a model's pace should be on this box, by law and measured speeds, and what it has been.

It reads headers and kept figures; only `measure` works for a second or two, when it is called.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modelrouter.app import App
from modelrouter.engine.spawning import threads_of
from modelrouter.memory import speeds
from modelrouter.memory.bandwidth import disk_bandwidth, memory_bandwidth
from modelrouter.memory.pace import Pace, Pass, one_pass, pace
from modelrouter.memory.speeds import Speed, speed_today
from modelrouter.registry import ModelSpec
from modelrouter.rehearsal.decoding import decoding_bandwidth
from modelrouter.synthetic import QUANTIZATIONS


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a token should cost a model, and the speeds it has shown so far (None: none yet)."""

    one: Pass
    pace: Pace
    prefill_tokens_per_second: float | None
    decode_tokens_per_second: float | None

    @property
    def measured_seconds(self) -> float | None:
        """Seconds a token, as measured over its answers, the latest counting most."""
        return 1 / self.decode_tokens_per_second if self.decode_tokens_per_second else None

    @property
    def times_measured(self) -> float | None:
        """What was predicted over what was measured: 1 is right, 0.5 promised half the time."""
        if self.pace.seconds is None or self.measured_seconds is None:
            return None
        return self.pace.seconds / self.measured_seconds


class Speeds(NamedTuple):
    """What the box gives a model: its threads from memory, llama.cpp with weights of its type, its
    disk. None: not measured.
    """

    memory: Speed | None
    decoding: Speed | None
    disk: Speed | None


def outlook(app: App, model: str, known: Mapping[str, Speed]) -> Outlook:
    """Return what is to be expected of a model with the share that the plan gives it."""
    spec = app.catalogue.specs[model]
    box = speeds_of(spec, known)
    one = planned_pass(app, spec)
    so_far = app.scheduler.forecast()[model]
    return Outlook(
        one,
        pace(one, memory=box.memory, decoding=box.decoding, disk=box.disk),
        so_far.prefill_tokens_per_second,
        so_far.decode_tokens_per_second,
    )


def planned_pass(app: App, spec: ModelSpec) -> Pass:
    """Return what a token of the model reads, where it is the only one beside the residents.

    What of the machine's memory nobody has then is page cache.
    """
    facts = spec.facts
    if spec.is_resident:
        return one_pass(facts, kept_bytes=facts.weights_bytes, cache_bytes=0)
    pinned_bytes = next(s.pinned_bytes for s in app.plan.shares if s.wish.model == spec.name)
    taken_bytes = app.plan.resident_bytes + spec.footprint.total_bytes + pinned_bytes
    cache_bytes = max(0, app.machine.available_bytes - taken_bytes)
    return one_pass(facts, kept_bytes=pinned_bytes, cache_bytes=cache_bytes)


def speeds_of(spec: ModelSpec, known: Mapping[str, Speed]) -> Speeds:
    """Return those of the known speeds that count for a model."""
    threads, disk = threads_of(spec), speeds.of_disk(_largest_file(spec))
    return Speeds(
        memory=known.get(speeds.of_memory(threads)),
        decoding=known.get(speeds.of_decoding(spec.facts.main_type, threads)),
        disk=None if disk is None else known.get(disk),
    )


def measure(specs: Iterable[ModelSpec], kept_in: Path) -> dict[str, Speed]:
    """Measure what these models read from, and how fast llama.cpp works off weights of their types;
    keep it, and return all that is known. It takes a few seconds.

    BadModelFile where a model's file cannot be read, EngineError where llama.cpp fails.
    """
    found: dict[str, Speed] = {}
    for spec in specs:
        for key, measured in _measurements(spec):
            if key not in found:
                found[key] = speed_today(measured())
    speeds.keep(kept_in, found)
    return speeds.read(kept_in) | found


def _measurements(spec: ModelSpec) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield what there is to be measured for a model, by the keys of the speeds."""
    threads, weights_type, file = threads_of(spec), spec.facts.main_type, _largest_file(spec)
    yield speeds.of_memory(threads), partial(memory_bandwidth, threads)
    if (disk := speeds.of_disk(file)) is not None:
        yield disk, partial(disk_bandwidth, file)
    if weights_type in QUANTIZATIONS:
        decoding = speeds.of_decoding(weights_type, threads)
        yield decoding, partial(decoding_bandwidth, weights_type, threads)


def _largest_file(spec: ModelSpec) -> Path:
    """Return the largest file of a split model; its disk stands for all of them."""
    return max(spec.facts.files, key=lambda file: file.n_bytes).path
