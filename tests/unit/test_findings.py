"""What follows from a rehearsal's figures: the limit, and what more memory would bring."""

import json
from dataclasses import replace

import pytest

from modelrouter.cli.rehearse import _lines
from modelrouter.memory.pace import Limit
from modelrouter.rehearsal.findings import Box, Decoding, Findings, Prefill

GIB = 2**30
BOX = Box(memory=10 * GIB, disk=1 * GIB, decoding=8 * GIB, budget_bytes=22 * GIB, resident_bytes=0)
STREAMED = Findings(
    model="llama-65b (Q4_K)",
    file_bytes=34 * GIB,
    weights_bytes=34 * GIB,
    written_seconds=100.0,
    footprint_bytes=4 * GIB,
    context_tokens=1024,
    slots=4,
    is_narrowed=False,
    is_resident=False,
    load_seconds=20.0,
    pin_seconds=10.0,
    pinned_bytes=18 * GIB,
    touched_bytes=32 * GIB,
    streamed_bytes=16 * GIB,
    predicted_seconds=16.0,
    alone=Decoding(1, 4, 18.0),
    together=Decoding(4, 16, 20.0),
    prefill=Prefill(512, 100.0),
    read_bytes=16 * GIB,
    box=BOX,
)
"""16 of 34 GiB come from a disk that gives 1 GiB/s: 16 of the 18 seconds."""


def test_more_memory_shrinks_what_the_disk_takes() -> None:
    """In proportion to what is not pinned, and never below what the CPU takes: 32 at 8 GiB/s."""
    assert STREAMED.limit == "disk"
    assert STREAMED.more_memory == {
        24 * GIB: pytest.approx(18 * 14 / 16),
        32 * GIB: pytest.approx(18 * 6 / 16),
        38 * GIB: 4.0,
    }


def test_without_a_measured_cpu_memory_is_the_floor() -> None:
    """32 GiB at 10 GiB/s."""
    unknown = replace(STREAMED, box=replace(BOX, decoding=None))
    assert unknown.more_memory[38 * GIB] == 3.2


@pytest.mark.parametrize(
    ("read_gib", "seconds", "limit"),
    [
        (16, 18.0, "disk"),
        (10, 18.0, "disk"),
        (0, 3.5, "memory"),
        (0, 18.0, "CPU"),
        (8, 18.0, "CPU"),
    ],
)
def test_the_limit_is_what_takes_most_of_the_time(
    read_gib: int, seconds: float, limit: Limit
) -> None:
    """Disk or memory; what neither explains is the CPU's. More memory helps whoever streams."""
    found = replace(STREAMED, read_bytes=read_gib * GIB, alone=Decoding(1, 4, seconds))
    assert found.limit == limit
    assert bool(found.more_memory) == (read_gib > 0)


def test_more_memory_takes_no_more_away_than_the_disk_takes() -> None:
    """Where 8 of 18 seconds are the disk's, the other 10 stay however much is in memory."""
    found = replace(STREAMED, read_bytes=8 * GIB)
    assert found.more_memory == {24 * GIB: pytest.approx(15.75), 32 * GIB: 10.0, 38 * GIB: 10.0}


def test_a_few_pages_from_disk_are_no_weights() -> None:
    """A worker reads one now and then: nothing is streamed, and no memory would help."""
    found = replace(STREAMED, read_bytes=32 * GIB // 1000 - 1)
    assert (found.from_disk_bytes, found.more_memory) == (0, {})


@pytest.mark.parametrize(
    ("read_gib", "said"),
    [(8, "some weights are read from disk"), (0, "all are in memory")],
)
def test_what_the_user_reads_of_a_cpu_that_is_the_limit(read_gib: int, said: str) -> None:
    """It does not say that all is in memory where it is not, nor that memory would not help."""
    found = replace(STREAMED, read_bytes=read_gib * GIB, pinned_bytes=(34 - 2 * read_gib) * GIB)
    lines = list(_lines(found))
    assert f"limit     the CPU: it multiplies weights no faster; {said}" in lines
    assert ("more RAM  would not make it faster" in lines) == (read_gib == 0)


def test_where_the_kernel_does_not_say_what_was_read_the_prediction_stands_for_it() -> None:
    """What should have been streamed."""
    untold = replace(STREAMED, read_bytes=None)
    assert untold.limit == "disk"
    assert untold.disk_bytes_per_second is None


def test_answers_together() -> None:
    """Four that take 20 s a token each give one every five seconds."""
    assert STREAMED.together is not None
    assert STREAMED.together.seconds_a_token_of_all == 5.0


def test_json_has_the_figures_and_what_follows() -> None:
    """Plain values, as any program can read them."""
    told = json.loads(json.dumps(STREAMED.to_json()))
    assert told["alone"] == {"at_once": 1, "tokens": 4, "seconds_a_token": 18.0}
    assert told["limit"] == "disk"
    assert told["more_memory"][-1] == {"budget_bytes": 38 * GIB, "seconds_a_token": 4.0}
    assert told["prefill_tokens_per_second"] == 5.12
