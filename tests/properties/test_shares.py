"""The plan's promises for all budgets and wishes.

Whatever the numbers, the shares fit together and none is smaller than it need be.
"""

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.memory.plan import Plan, Shape, Share, Wish, fewest, fitting, plan, share_pins

SIZES = st.integers(0, 30)
BUDGETS = st.integers(0, 60)


@st.composite
def wish(draw: st.DrawFn, model: str) -> Wish:
    """Return a model's wish: up to four shapes, and weights to pin where it is not resident."""
    is_resident = draw(st.booleans())
    sizes = sorted(draw(st.sets(SIZES, min_size=1, max_size=4)), reverse=True)
    shapes = tuple(Shape(size, 1, size) for size in sizes)
    return Wish(model, is_resident, shapes, 0 if is_resident else draw(SIZES))


@st.composite
def wishes(draw: st.DrawFn) -> list[Wish]:
    """Return up to five models' wishes."""
    return [draw(wish(model)) for model in "abcde"[: draw(st.integers(0, 5))]]


FOOTPRINTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20))


def size(share: Share) -> int:
    """Return what a share takes; nothing for a model that gets nothing."""
    return 0 if share.shape is None else share.shape.footprint_bytes


def wider(share: Share) -> list[Shape]:
    """Return the shapes that the model would have liked better."""
    if share.shape is None:
        return list(share.wish.shapes)
    return list(share.wish.shapes[: share.wish.shapes.index(share.shape)])


def kept_for_others(drawn: Plan, room_bytes: int) -> int:
    """Return the narrowest shape of the largest other model that has room at all."""
    others = [s.wish.narrowest.footprint_bytes for s in drawn.shares if not s.wish.is_resident]
    return max((size for size in others if size <= room_bytes), default=0)


@given(BUDGETS, wishes())
def test_the_residents_and_any_other_model_fit_together(
    budget: int, all_wishes: list[Wish]
) -> None:
    """With all that it may pin; shares are in the order of the wishes, shapes among those wished
    for.
    """
    drawn = plan(budget, all_wishes)
    assert [share.wish for share in drawn.shares] == all_wishes
    assert drawn.resident_bytes <= budget
    for share in drawn.shares:
        assert share.shape is None or share.shape in share.wish.shapes
        assert 0 <= share.pinned_bytes <= share.wish.pinnable_bytes
        if not share.wish.is_resident:
            assert drawn.resident_bytes + size(share) + share.pinned_bytes <= budget


@given(BUDGETS, wishes())
def test_residents_come_first(budget: int, all_wishes: list[Wish]) -> None:
    """They are loaded or not as if there were no others."""
    drawn = plan(budget, all_wishes)
    alone = plan(budget, [w for w in all_wishes if w.is_resident])
    residents = [share for share in drawn.shares if share.wish.is_resident]
    assert [s.shape is None for s in residents] == [s.shape is None for s in alone.shares]


@given(BUDGETS, wishes())
def test_who_gets_nothing_would_not_fit(budget: int, all_wishes: list[Wish]) -> None:
    """A resident not beside those before it at their narrowest, another model not beside all."""
    drawn = plan(budget, all_wishes)
    narrow_bytes = 0
    for share in drawn.shares:
        least = share.wish.narrowest.footprint_bytes
        if not share.wish.is_resident:
            assert (share.shape is None) == (drawn.resident_bytes + least > budget)
        elif share.shape is None:
            assert narrow_bytes + least > budget
        else:
            narrow_bytes += least


@given(BUDGETS, wishes())
def test_nothing_could_be_wider(budget: int, all_wishes: list[Wish]) -> None:
    """No model alone, not even one step, with what is kept for the largest of the others."""
    drawn = plan(budget, all_wishes)
    residents = [s for s in drawn.shares if s.wish.is_resident and s.shape is not None]
    narrow_bytes = sum(share.wish.narrowest.footprint_bytes for share in residents)
    kept_bytes = kept_for_others(drawn, budget - narrow_bytes)
    for share in drawn.shares:
        taken = drawn.resident_bytes - (size(share) if share in residents else 0)
        taken += kept_bytes if share in residents else 0
        if share in residents or not share.wish.is_resident:
            assert all(taken + shape.footprint_bytes > budget for shape in wider(share))


@given(BUDGETS, wishes())
def test_every_byte_that_is_left_is_pinned(budget: int, all_wishes: list[Wish]) -> None:
    """By the one model that is loaded beside the residents."""
    drawn = plan(budget, all_wishes)
    for share in drawn.shares:
        if share.shape is not None and share.pinned_bytes < share.wish.pinnable_bytes:
            assert drawn.resident_bytes + size(share) + share.pinned_bytes == budget


@given(BUDGETS, st.integers(0, 30), wishes())
def test_more_memory_harms_nobody_who_is_alone(
    budget: int, more: int, all_wishes: list[Wish]
) -> None:
    """Where no model has to be kept room for, no share shrinks as the budget grows."""
    for each in all_wishes:
        before, after = plan(budget, [each]).shares[0], plan(budget + more, [each]).shares[0]
        assert size(after) >= size(before)
        assert size(after) + after.pinned_bytes >= size(before) + before.pinned_bytes


@given(BUDGETS, st.integers(0, 30), wishes())
def test_more_memory_turns_no_resident_away(budget: int, more: int, all_wishes: list[Wish]) -> None:
    """Where all of them fit, all of them fit into more."""
    before, after = plan(budget, all_wishes), plan(budget + more, all_wishes)
    residents = [share for share in before.shares if share.wish.is_resident]
    if all(share.shape is not None for share in residents):
        assert all(s.shape is not None for s in after.shares if s.wish.is_resident)


@given(BUDGETS, FOOTPRINTS)
def test_fitting_takes_each_that_fits_beside_those_before_it(
    budget: int, footprints: dict[str, int]
) -> None:
    """And no other."""
    found = fitting(budget, footprints)
    taken = 0
    for model, need in footprints.items():
        assert (model in found) == (taken + need <= budget)
        taken += found.get(model, 0)


@given(st.integers(-10, 60), FOOTPRINTS)
def test_pins_take_all_there_is_the_first_in_order_first(
    free: int, pinnable: dict[str, int]
) -> None:
    """None is more than its weights; nobody has any where one before it lacks some."""
    pins = share_pins(free, pinnable)
    assert sum(pins.values()) == max(0, min(free, sum(pinnable.values())))
    assert all(0 <= pins[model] <= most for model, most in pinnable.items())
    is_short = False
    for model, most in pinnable.items():
        assert pins[model] == 0 or not is_short
        is_short |= pins[model] < most


@given(st.integers(-5, 60), FOOTPRINTS)
def test_the_fewest_suffice_and_none_is_superfluous(
    missing: int, candidates: dict[str, int]
) -> None:
    """Or all of them do not suffice."""
    chosen = fewest(missing, candidates)
    total = sum(candidates[name] for name in chosen)
    assert total >= missing or chosen == list(candidates)
    assert all(total - candidates[name] < missing for name in chosen) or total < missing
