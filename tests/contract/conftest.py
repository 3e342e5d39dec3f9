"""What the contract suites share: specs of the tiny model under several names.

Nothing here stands in for a part of modelrouter.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from leasing import Specs

from modelrouter.registry import ModelSpec


@pytest.fixture
def specs(make_spec: Callable[..., ModelSpec], tiny_gguf: Path) -> Specs:
    """Two models that are mapped, with a slot each and with two, and one that is resident."""
    return {
        name: make_spec(tiny_gguf, name, residency=residency, slots=slots, context=512, threads=1)
        for name, residency, slots in (
            ("a", "mapped", 1),
            ("b", "mapped", 1),
            ("wide", "mapped", 2),
            ("resident", "resident", 1),
        )
    }
