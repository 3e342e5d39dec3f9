"""Models that fail, and what people ask of models: again, later, no more; load, unload.

Pure: events in, effects out, a clock that moves only with them.
"""

import pytest
from scheduler_by_hand import ByHand, needs, the_refusal

from modelrouter.errors import EngineError, LoadFailed, NeverFits
from modelrouter.forecast import ModelState
from modelrouter.scheduler.effects import Effect, Grant, Load, Refuse, Unload
from modelrouter.scheduler.room import MOST_FAILURES

ERROR = LoadFailed("no such file")


def broken(core: ByHand) -> None:
    """Let the load of `a` fail until it is left alone."""
    for ticket in range(MOST_FAILURES):
        core.arrived(100 + ticket, "a")
        core.ticked(60)
        core.load_failed("a", ERROR)
    assert core.room("a").state is ModelState.FAILED


def test_a_failed_load_is_told_to_all_who_waited() -> None:
    """Everybody in line hears why, and the next request starts anew."""
    core = ByHand(a=needs())
    core.arrived(0, "a")
    core.arrived(1, "a")
    assert core.load_failed("a", ERROR) == [Refuse(0, ERROR), Refuse(1, ERROR)]
    assert core.used() == 0
    assert core.arrived(2, "a") == [Load("a")]


def test_failures_in_a_row_are_tried_again_later_and_later() -> None:
    """At once, then after 1 and 2 seconds; who comes meanwhile waits for that."""
    core = ByHand(a=needs())
    waits = []
    for ticket in range(MOST_FAILURES - 1):
        effects = core.arrived(ticket, "a")
        wake_at = core.core.next_wake()
        waits.append(0 if effects else wake_at and wake_at - core.now)
        assert effects or core.ticked(waits[-1] / 2) == []
        assert effects or core.ticked(waits[-1] / 2) == [Load("a")]
        core.load_failed("a", ERROR)
    assert waits == [0, 0, 1]
    core.arrived(9, "a")
    assert core.ticked(1.9) == []
    assert core.ticked(0.1) == [Load("a")]


def test_a_model_that_waits_to_be_tried_again_holds_nobody_up() -> None:
    """Its room is another's meanwhile."""
    core = ByHand(a=needs(), b=needs())
    for _ in range(2):
        core.arrived(0, "a")
        core.load_failed("a", ERROR)
    assert core.arrived(1, "a") == []
    assert core.arrived(2, "b") == [Load("b")]


def test_deaths_count_like_failed_loads() -> None:
    """Who waits then gets the next worker; at the end they hear its last words."""
    core = ByHand(a=needs())
    for ticket in range(MOST_FAILURES + 1):
        core.arrived(ticket, "a")
    loads = []
    for ticket in range(MOST_FAILURES - 1):
        assert core.loaded("a") == [Grant(ticket, "a")]
        loads.append(core.died("a") or core.ticked(2))
    assert loads == [[Load("a")]] * (MOST_FAILURES - 1)
    core.loaded("a")
    error = the_refusal(core.died("a"))
    assert isinstance(error, EngineError)
    assert error.message == "a failed 4 times in a row and is left alone: out of memory"
    assert error.hint == "see to it, then: modelrouter models load a"


def test_a_model_that_is_left_alone_refuses_with_its_last_words() -> None:
    """And is loaded for nobody; its memory is free."""
    core = ByHand(a=needs(), b=needs())
    broken(core)
    error = the_refusal(core.arrived(0, "a"))
    assert error.message == "a failed 4 times in a row and is left alone: no such file"
    assert core.ticked(3600) == []
    assert core.used() == 0
    assert core.arrived(1, "b") == [Load("b")]


def test_a_person_who_wants_it_loaded_has_it_tried_again() -> None:
    """At once, and the counting begins anew."""
    core = ByHand(a=needs())
    broken(core)
    assert core.warmed("a") == [Load("a")]
    core.load_failed("a", ERROR)
    assert core.room("a").state is ModelState.UNLOADED
    assert core.arrived(0, "a") == [Load("a")]


def test_an_answer_ends_the_counting() -> None:
    """Failures count in a row, and a request that held its slot to the end breaks it."""
    core = ByHand(a=needs())
    for ticket in range(2 * MOST_FAILURES):
        core.at_work("a", ticket)
        core.left(ticket)
        core.died("a")
    assert core.room("a").state is ModelState.UNLOADED
    assert core.room("a").failures == 1


def test_who_was_refused_or_cut_off_ends_no_counting() -> None:
    """Leaving a worker that is dead already is no answer."""
    core = ByHand(a=needs())
    for ticket in range(MOST_FAILURES):
        core.arrived(ticket, "a", later=60)
        core.ticked(60)
        core.loaded("a")
        core.died("a")
        core.left(ticket)
    assert core.room("a").state is ModelState.FAILED


def test_residents_come_at_the_start_and_stay() -> None:
    """A warmed resident is loaded without a request, and again should its worker die.

    A request that waits comes first.
    """
    core = ByHand(20, a=needs(is_resident=True), b=needs(), c=needs())
    assert core.warmed("a") == [Load("a")]
    assert core.loaded("a") == []
    core.ready("b", 0)
    assert core.arrived(1, "c") == [Unload("b")]
    assert core.died("a") == [Load("c")]
    assert core.unloaded("b") == [Load("a")]


def test_a_warmed_model_whose_load_failed_is_not_tried_again_by_itself() -> None:
    """Nobody waits for it."""
    core = ByHand(a=needs(is_resident=True))
    core.warmed("a")
    assert core.load_failed("a", ERROR) == []
    assert core.ticked(60) == []


def test_a_warmed_resident_that_dies_again_and_again_is_left_alone() -> None:
    """It is not loaded for ever."""
    core = ByHand(a=needs(is_resident=True))
    effects: list[Effect] = core.warmed("a")
    loads = 0
    while effects == [Load("a")]:
        loads += 1
        core.loaded("a")
        effects = core.died("a") or core.ticked(60)
    assert loads == MOST_FAILURES


def test_two_warmed_models_do_not_evict_each_other_for_ever() -> None:
    """A warmed model that was evicted waits to be asked for."""
    core = ByHand(a=needs(), b=needs())
    core.warmed("a")
    core.loaded("a")
    assert core.warmed("b") == [Unload("a")]
    assert core.unloaded("a") == [Load("b")]
    assert core.loaded("b") == []


def test_a_warmed_model_that_never_fits_is_not_waited_for() -> None:
    """It is warmed no more, and keeps no younger one from its room."""
    core = ByHand(a=needs(11), b=needs())
    assert core.warmed("a") == []
    assert not core.room("a").is_warmed
    assert core.warmed("b") == [Load("b")]


def test_a_dismissed_model_goes_once_nobody_uses_it() -> None:
    """It takes no new requests; who waits has it loaded again."""
    core = ByHand(a=needs(slots=2))
    core.at_work("a", 0)
    assert core.dismissed("a") == []
    assert core.arrived(1, "a") == []
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("a")]
    assert core.loaded("a") == [Grant(1, "a")]


@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_resident_can_be_dismissed(is_loaded: bool) -> None:  # noqa: FBT001
    """A person may send away what nothing else may; a load is broken off."""
    core = ByHand(a=needs(is_resident=True))
    core.warmed("a")
    if is_loaded:
        core.loaded("a")
    assert core.dismissed("a") == [Unload("a")]
    assert core.unloaded("a") == []


def test_a_model_that_is_not_there_cannot_be_dismissed() -> None:
    """Nothing happens, now or when it is loaded next; a failed one stays failed."""
    core = ByHand(a=needs())
    assert core.dismissed("a") == []
    core.ready("a", 0)
    assert core.room("a").state is ModelState.READY
    core.died("a")
    broken(core)
    core.dismissed("a")
    assert core.room("a").state is ModelState.FAILED


def test_who_wants_a_dismissed_model_loaded_keeps_it() -> None:
    """The last word counts."""
    core = ByHand(a=needs(slots=2))
    core.at_work("a", 0)
    core.dismissed("a")
    core.arrived(1, "a")
    assert core.warmed("a") == [Grant(1, "a")]
    assert core.left(0) == []


def test_a_dismissed_model_is_not_loaded_because_it_was_warmed_before() -> None:
    """Its death or its unload is its end."""
    core = ByHand(a=needs())
    core.warmed("a")
    core.loaded("a")
    assert core.dismissed("a") == [Unload("a")]
    assert core.unloaded("a") == []


def test_a_warmed_model_that_is_dismissed_before_it_had_room_is_not_loaded() -> None:
    """The wish is taken back, also where there is nothing to unload yet."""
    core = ByHand(a=needs(), b=needs())
    core.at_work("a", 0)
    assert core.warmed("b") == core.dismissed("b") == []
    assert core.left(0) == []


def test_a_dismissed_residents_room_stays_promised() -> None:
    """Whoever asks for it may have it back, so what fits only without it is refused."""
    core = ByHand(15, a=needs(is_resident=True), b=needs())
    core.ready("a", 0)
    core.dismissed("a")
    core.unloaded("a")
    assert isinstance(the_refusal(core.arrived(1, "b")), NeverFits)


def test_only_an_answer_breaks_a_row_of_failures() -> None:
    """A caller who goes away in the middle says nothing of the model's health."""
    core = ByHand(a=needs())
    core.arrived(0, "a")
    core.load_failed("a", ERROR)
    core.at_work("a", 1)
    core.left(1, has_answer=False)
    assert core.room("a").failures == 1
    assert core.arrived(2, "a") == [Grant(2, "a")]
    core.left(2)
    assert core.room("a").failures == 0
