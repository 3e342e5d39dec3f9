"""An exit code in words, with advice where it tells enough."""

import signal

import pytest

from modelrouter.engine.exit_codes import advice, describe_end


@pytest.mark.parametrize(
    ("code", "words", "advises"),
    [
        (0, "ended with exit code 0", False),
        (1, "ended with exit code 1", False),
        (-signal.SIGKILL, "was ended by signal 9 (SIGKILL)", True),
        (-signal.SIGBUS, f"was ended by signal {signal.SIGBUS:d} (SIGBUS)", True),
        (-signal.SIGABRT, "was ended by signal 6 (SIGABRT)", False),
        (-40, "was ended by signal 40 (real-time)", False),
    ],
)
def test_an_exit_code_in_words(code: int, words: str, *, advises: bool) -> None:
    """Signals have names; those that tell of memory or the file have advice."""
    assert describe_end(code) == words
    assert (advice(code) is not None) == advises
