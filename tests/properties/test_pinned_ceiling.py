"""The ceiling of pinned bytes, whatever the machine's memory does.

Hypothesis plays the machine: readings at random, the same reading for ever, and a machine whose
memory is given and taken by the pinning itself, late.
"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.memory.pressure import Ceiling, Reading, Rule, next_ceiling
from modelrouter.memory.stall import Stall

BYTES = st.integers(0, 2000)
RULES = st.builds(
    Rule,
    reserve_bytes=st.integers(0, 300),
    margin_bytes=st.integers(0, 200),
    step_bytes=st.integers(1, 300),
    grain_bytes=st.integers(1, 50),
    calm_readings=st.integers(1, 5),
)
PERCENT = st.sampled_from([0.0, 4.9, 5.0, 50.0])
READINGS = st.builds(Reading, BYTES, st.none() | st.builds(Stall, PERCENT, PERCENT))
CEILINGS = st.none() | st.builds(Ceiling, BYTES)


def is_one_way(values: list[int]) -> bool:
    """Tell whether values never rise after they fell, nor fall after they rose."""
    return values in (sorted(values), sorted(values, reverse=True))


@given(CEILINGS, READINGS, BYTES, RULES)
def test_no_more_is_asked_for_than_is_pinned(
    now: Ceiling | None, reading: Reading, pinned: int, rule: Rule
) -> None:
    """What is to be given back is there, and what may be added is not negative."""
    ceiling = next_ceiling(now, reading, pinned, rule)
    assert 0 <= ceiling.give_back_bytes(pinned) <= pinned
    assert ceiling.room_bytes(pinned) == max(0, ceiling.n_bytes - pinned)


@given(CEILINGS, READINGS, BYTES, RULES)
def test_a_lack_is_made_good_at_once(
    now: Ceiling | None, reading: Reading, pinned: int, rule: Rule
) -> None:
    """What is below the reserve is given back in one step, or all that there is."""
    ceiling = next_ceiling(now, reading, pinned, rule)
    lack = rule.reserve_bytes - reading.available_bytes
    assert ceiling.give_back_bytes(pinned) >= min(pinned, lack)


@given(CEILINGS, READINGS, BYTES, RULES, st.integers(2, 30))
def test_the_same_reading_for_ever_is_answered_one_way(
    now: Ceiling | None, reading: Reading, pinned: int, rule: Rule, readings: int
) -> None:
    """The ceiling falls or rises or stays; it does not swing."""
    course = []
    for _ in range(readings):
        now = next_ceiling(now, reading, pinned, rule)
        course.append(now.n_bytes)
    assert is_one_way(course)


@given(
    BYTES,
    BYTES,
    RULES,
    st.none() | st.builds(Stall, PERCENT, PERCENT),
    st.lists(st.integers(0, 400), min_size=20, max_size=60),
)
def test_pinning_that_follows_late_does_not_swing(
    both: int, wanted: int, rule: Rule, stall: Stall | None, speeds: list[int]
) -> None:
    """Nobody else comes or goes: what is pinned and what is available are one sum.

    However fast the pinning follows the ceiling, the ceiling goes one way, and at the end nothing
    is short that could be given back.
    """
    pinned, now, course = min(wanted, both), None, []
    for speed in [*speeds, both, both, both]:
        now = next_ceiling(now, Reading(both - pinned, stall), pinned, rule)
        course.append(now.n_bytes)
        goal = min(wanted, now.n_bytes)
        pinned += max(-speed, min(speed, goal - pinned))
    assert is_one_way(course)
    assert pinned == 0 or both - pinned >= rule.reserve_bytes


@given(st.lists(st.tuples(READINGS, BYTES), min_size=1, max_size=40), RULES)
def test_growth_needs_many_good_readings_in_a_row(
    looks: list[tuple[Reading, int]], rule: Rule
) -> None:
    """The ceiling rises after N readings above reserve and margin, then waits for N more."""
    now = next_ceiling(None, *looks[0], rule)
    ceilings = [now]
    for reading, pinned in looks[1:]:
        now = next_ceiling(now, reading, pinned, rule)
        ceilings.append(now)
    enough = rule.reserve_bytes + rule.margin_bytes
    quiet = 0
    for (before, after), (reading, _) in zip(pairwise(ceilings), looks[1:], strict=True):
        quiet = quiet + 1 if reading.available_bytes > enough else 0
        if after.n_bytes > before.n_bytes:
            assert quiet >= rule.calm_readings
            assert after.n_bytes - before.n_bytes <= rule.step_bytes
        if after.n_bytes != before.n_bytes:
            quiet = 0
