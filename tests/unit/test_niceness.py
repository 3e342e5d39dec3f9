"""What a worker gives up, and what is said where it cannot; real workers are in the contract tests.

Nothing here changes the niceness of the tests' own process.
"""

import logging
from pathlib import Path

import pytest

from modelrouter.engine.niceness import OOM_MAPPED, OOM_RESIDENT, take_place
from modelrouter.engine.process import _warn_once
from modelrouter.engine.protocol import Load
from modelrouter.memory.kv import StoredTypes


def load(*, whole: bool) -> Load:
    """Return the message for a model that nobody will load."""
    return Load("model.gguf", whole, 256, 1, 32, StoredTypes("q8_0", "f16"), 1)


@pytest.mark.parametrize(
    ("whole", "before", "after"),
    [(False, 0, OOM_MAPPED), (True, -500, OOM_RESIDENT), (True, 500, 500), (False, 1000, 1000)],
)
def test_the_oom_score_is_raised_and_never_lowered(
    before: int, after: int, tmp_path: Path, *, whole: bool
) -> None:
    """A container's own word, that it is to go first, stands."""
    file = tmp_path / "oom_score_adj"
    file.write_text(f"{before}\n")
    assert take_place(load(whole=whole), file) == ()
    assert int(file.read_text()) == after


def test_what_the_system_has_not_is_said(tmp_path: Path) -> None:
    """As on macOS: no such file. The worker goes on."""
    file = tmp_path / "oom_score_adj"
    assert take_place(load(whole=True), file) == (
        f"{file} cannot be raised: No such file or directory",
    )


def test_a_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Ten workers on one system are refused the same ten times."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            _warn_once("the niceness 'nice' cannot be taken: no")
    assert caplog.messages == [
        "a worker runs without what it asked for: the niceness 'nice' cannot be taken: no"
    ]
