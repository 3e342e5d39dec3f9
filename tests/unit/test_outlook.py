"""Which of a box's speeds count for a model."""

from dataclasses import replace
from pathlib import Path

from modelrouter.gguf import GgufFile
from modelrouter.memory import speeds
from modelrouter.memory.speeds import Speed
from modelrouter.registry import ModelSpec
from modelrouter.rehearsal.outlook import Speeds, speeds_of

FAST, SLOW = Speed(2e9, "2026-01-01"), Speed(1e9, "2026-01-01")


def test_a_split_models_disk_is_that_of_its_largest_file(tiny_spec: ModelSpec) -> None:
    """The one that was measured; what was not measured is None."""
    elsewhere = Path("/proc/version")  # a file on another file system than the model's
    files = (GgufFile(tiny_spec.facts.path, 1), GgufFile(elsewhere, 2))
    split = replace(tiny_spec, facts=replace(tiny_spec.facts, files=files))
    known = {
        str(speeds.of_disk(tiny_spec.facts.path)): FAST,
        str(speeds.of_disk(elsewhere)): SLOW,
        speeds.of_memory(1): FAST,
    }
    assert speeds_of(tiny_spec, known) == Speeds(memory=FAST, decoding=None, disk=FAST)
    assert speeds_of(split, known) == Speeds(memory=FAST, decoding=None, disk=SLOW)
