"""Who gets which part of the budget: residents first, then the others, then pins.

Arithmetic on small numbers; `properties/test_shares.py` has the rules for all numbers.
"""

import pytest

from modelrouter.memory.plan import (
    Plan,
    Shape,
    Share,
    Wish,
    fewest,
    fitting,
    plan,
    share_pins,
)


def shapes(*sizes: int) -> tuple[Shape, ...]:
    """Return shapes of these bytes, the widest first; a token a byte."""
    return tuple(Shape(size, 1, size) for size in sizes)


def resident(model: str, *sizes: int) -> Wish:
    """Return a resident model's wish."""
    return Wish(model, is_resident=True, shapes=shapes(*sizes))


def mapped(model: str, *sizes: int, pinnable: int = 0) -> Wish:
    """Return another model's wish."""
    return Wish(model, is_resident=False, shapes=shapes(*sizes), pinnable_bytes=pinnable)


def sizes(drawn: Plan) -> dict[str, int | None]:
    """Return the bytes of each model's shape."""
    return {s.wish.model: s.shape.footprint_bytes if s.shape else None for s in drawn.shares}


def test_everybody_gets_the_widest_shape_where_there_is_room() -> None:
    """A model that is not resident shares with the residents only: its like make room for it."""
    drawn = plan(30, [resident("r", 10, 5), mapped("a", 20, 8), mapped("b", 20, 8)])
    assert sizes(drawn) == {"r": 10, "a": 20, "b": 20}
    assert drawn.resident_bytes == 10
    assert not any(share.is_narrowed for share in drawn.shares)


def test_a_resident_is_widened_as_far_as_the_largest_of_the_others_has_room() -> None:
    """The others in their narrowest shape: they must run, not run wide."""
    drawn = plan(20, [resident("r", 15, 12, 5), mapped("a", 20, 8)])
    assert sizes(drawn) == {"r": 12, "a": 8}
    assert all(share.is_narrowed for share in drawn.shares)


def test_residents_are_widened_in_their_order() -> None:
    """The first takes what it can; the next has what is left."""
    assert sizes(plan(20, [resident("r", 12, 5), resident("s", 12, 5)])) == {"r": 12, "s": 5}
    assert sizes(plan(24, [resident("r", 12, 5), resident("s", 12, 5)])) == {"r": 12, "s": 12}


def test_a_resident_that_does_not_fit_gets_nothing_and_keeps_nobody_out() -> None:
    """First come, first served, by the narrowest shapes; a smaller one after it may still fit."""
    drawn = plan(10, [resident("r", 6), resident("s", 6), resident("t", 4)])
    assert sizes(drawn) == {"r": 6, "s": None, "t": 4}
    assert drawn.resident_bytes == 10


def test_a_model_that_is_too_large_reserves_nothing() -> None:
    """Residents are not kept narrow for one that cannot run anyway."""
    drawn = plan(20, [resident("r", 18, 5), mapped("huge", 16), mapped("a", 2)])
    assert sizes(drawn) == {"r": 18, "huge": None, "a": 2}


def test_a_mapped_model_may_pin_what_is_left() -> None:
    """Beside the residents and its own footprint, and no more than its weights."""
    drawn = plan(30, [resident("r", 10), mapped("a", 8, pinnable=100), mapped("b", 8, pinnable=5)])
    assert [share.pinned_bytes for share in drawn.shares] == [0, 12, 5]


def test_a_resident_pins_nothing() -> None:
    """Its weights are in its footprint already."""
    wish = Wish("r", is_resident=True, shapes=shapes(5), pinnable_bytes=9)
    assert plan(20, [wish]).shares[0].pinned_bytes == 0


def test_who_gets_nothing_pins_nothing() -> None:
    """A model that cannot be loaded has no weights to pin."""
    assert plan(5, [mapped("a", 8, pinnable=9)]) == Plan(
        5, (Share(mapped("a", 8, pinnable=9), None, 0),)
    )
    assert not plan(5, [mapped("a", 8)]).shares[0].is_narrowed


def test_a_plan_keeps_the_order_of_the_wishes() -> None:
    """Whatever is resident."""
    drawn = plan(30, [mapped("a", 1), resident("r", 1), mapped("b", 1)])
    assert [share.wish.model for share in drawn.shares] == ["a", "r", "b"]


def test_fitting_is_first_come_first_served_to_the_byte() -> None:
    """What just fits, fits."""
    assert fitting(10, {"a": 6, "b": 5, "c": 4}) == {"a": 6, "c": 4}
    assert fitting(-1, {"a": 0}) == {}


@pytest.mark.parametrize(
    ("free", "expected"),
    [(20, {"a": 8, "b": 6}), (10, {"a": 8, "b": 2}), (5, {"a": 5, "b": 0}), (-3, {"a": 0, "b": 0})],
)
def test_the_first_pins_all_it_can(free: int, expected: dict[str, int]) -> None:
    """Not in equal parts; where memory lacks, nobody pins anything."""
    assert share_pins(free, {"a": 8, "b": 6}) == expected


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (0, []),
        (-4, []),
        (3, ["a"]),
        (4, ["b"]),
        (12, ["a", "b"]),
        (14, ["b", "c"]),
        (99, ["a", "b", "c"]),
    ],
)
def test_the_fewest_that_make_up_for_what_is_missing(missing: int, expected: list[str]) -> None:
    """In order of preference, none of them superfluous; all where they do not suffice."""
    assert fewest(missing, {"a": 3, "b": 9, "c": 5}) == expected


def test_who_is_let_off_is_the_one_least_preferred() -> None:
    """Of two that are small enough to be let off, and too large to be so both."""
    assert fewest(11, {"a": 2, "b": 2, "c": 9}) == ["a", "c"]
