"""The laws of memory: bytes over bytes a second."""

from pathlib import Path

import pytest

from modelrouter import synthetic
from modelrouter.gguf import GgufFacts, read_facts
from modelrouter.memory.pace import Pass, one_pass, pace, touched_bytes
from modelrouter.memory.speeds import Speed
from modelrouter.synthetic import Geometry

DENSE = Geometry(4, 256, 512, 8, 8, 4096, 1024)
FAST, SLOW = Speed(1e9, "2026-01-01"), Speed(1e8, "2026-01-01")


def facts_of(folder: Path, geometry: Geometry) -> GgufFacts:
    """Return the facts of such a model."""
    path = folder / "model.gguf"
    synthetic.write(path, geometry, "Q8_0")
    return read_facts(path)


def bytes_of(facts: GgufFacts, *parts: str) -> int:
    """Return the bytes of the tensors whose names have one of these parts."""
    return sum(t.n_bytes for t in facts.tensors if any(part in t.name for part in parts))


def test_a_token_reads_everything_but_the_embeddings(tmp_path: Path) -> None:
    """Of the embeddings it looks one row up."""
    facts = facts_of(tmp_path, DENSE)
    assert touched_bytes(facts) == facts.weights_bytes - bytes_of(facts, "token_embd")


def test_tied_embeddings_are_the_output_layer_too(tmp_path: Path) -> None:
    """Then they are read whole."""
    tied = Geometry(4, 256, 512, 8, 8, 4096, 1024, tied_embeddings=True)
    facts = facts_of(tmp_path, tied)
    assert touched_bytes(facts) == facts.weights_bytes


def test_of_experts_those_used_count(tmp_path: Path) -> None:
    """Two of eight: a quarter of their bytes, and all of the rest."""
    facts = facts_of(tmp_path, Geometry(2, 256, 512, 8, 8, 4096, 1024, 8, 2))
    experts = bytes_of(facts, "_exps.")
    others = facts.weights_bytes - experts - bytes_of(facts, "token_embd")
    assert experts > others
    assert touched_bytes(facts) == others + experts // 4


@pytest.mark.parametrize(
    ("kept", "cache", "streamed"),
    [(0.0, 0.5, 1.0), (0.25, 0.5, 0.75), (0.5, 0.5, 0.0), (0.5, 0.4, 0.5), (1.0, 0.0, 0.0)],
)
def test_a_cache_too_small_for_the_rest_keeps_nothing_of_it(
    kept: float, cache: float, streamed: float, tmp_path: Path
) -> None:
    """What is pinned is not read; the rest is read whole, or not at all where it fits the cache."""
    facts = facts_of(tmp_path, DENSE)
    weights = facts.weights_bytes
    one = one_pass(facts, kept_bytes=int(kept * weights), cache_bytes=int(cache * weights) + 1)
    assert one.touched_bytes == touched_bytes(facts)
    assert one.streamed_bytes == pytest.approx(streamed * one.touched_bytes, rel=1e-3)


def test_the_slowest_is_the_limit() -> None:
    """A gigabyte from memory in a second, 200 MB of it from disk in two."""
    one = Pass(10**9, 2 * 10**8)
    streamed = pace(one, memory=FAST, disk=SLOW)
    assert (streamed.limit, streamed.seconds) == ("disk", 2.0)
    kept = pace(Pass(10**9, 0), memory=FAST, disk=SLOW)
    assert (kept.limit, kept.seconds) == ("memory", 1.0)
    computed = pace(one, memory=FAST, decoding=SLOW, disk=SLOW)
    assert (computed.limit, computed.seconds) == ("CPU", 10.0)


def test_nothing_is_said_where_a_speed_is_missing_that_counts() -> None:
    """A disk nobody has measured matters to who streams from it, and to nobody else."""
    assert pace(Pass(1, 1), memory=FAST).seconds is None
    assert pace(Pass(1, 1), memory=None, disk=FAST).limit is None
    assert pace(Pass(10**9, 0), memory=FAST).seconds == 1.0
