"""The trace, on a clock of the test's own."""

import json

from modelrouter.trace import Step, Trace


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        """Begin at some time or other."""
        self.now = 1024.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


def test_steps_stand_in_order_with_the_milliseconds_since_the_start() -> None:
    """Time begins with the trace, not with the clock."""
    clock = Clock()
    trace = Trace(clock)
    clock.now += 0.5
    trace.note("decide", rule="code")
    clock.now += 1.25
    trace.note("lease")
    assert trace.steps == [Step("decide", 500.0, {"rule": "code"}), Step("lease", 1750.0, {})]
    assert trace.elapsed_ms() == 1750.0


def test_a_trace_is_plain_json() -> None:
    """Each step is one flat object, its times in milliseconds with three digits."""
    clock = Clock()
    trace = Trace(clock)
    clock.now += 0.00125
    trace.note("decide", candidates=["a", "b"], skipped={"c": "no file"}, confidence=0.5, key=None)
    assert trace.to_json() == [
        {
            "step": "decide",
            "at_ms": 1.25,
            "candidates": ["a", "b"],
            "skipped": {"c": "no file"},
            "confidence": 0.5,
            "key": None,
        }
    ]
    assert json.loads(json.dumps(trace.to_json())) == trace.to_json()


def test_the_real_clock_only_goes_forward() -> None:
    """Two steps of a trace by default never have their times swapped."""
    trace = Trace()
    trace.note("first")
    trace.note("second")
    first, second = trace.steps
    assert 0 <= first.at_ms <= second.at_ms
