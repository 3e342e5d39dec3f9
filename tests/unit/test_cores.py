"""The number of cores is the affinity mask's, with two threads of one core counted once."""

import os
import re
from pathlib import Path

import pytest

from modelrouter.engine.cores import physical_cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks"
)


def test_within_what_this_process_may_use() -> None:
    """At least one core, and no more than there are processors in the mask."""
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))


def test_one_processor_is_one_core() -> None:
    """A process that is confined to a processor gets one thread, whatever the machine has."""
    mask = os.sched_getaffinity(0)
    try:
        for cpu in mask:
            os.sched_setaffinity(0, {cpu})
            assert physical_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


def test_siblings_count_once() -> None:
    """All threads of the mask share as many cores as /proc/cpuinfo tells different ones of."""
    mask = os.sched_getaffinity(0)
    cores = set()
    for block in Path("/proc/cpuinfo").read_text().strip().split("\n\n"):
        facts = {key.strip(): value.strip() for key, value in re.findall(r"(.+):(.*)", block)}
        if "core id" not in facts:
            pytest.skip("this kernel's /proc/cpuinfo does not tell cores")
        if int(facts["processor"]) in mask:
            cores.add((facts["physical id"], facts["core id"]))
    assert physical_cores() == len(cores)
