"""What becomes of workers, lines and rooms when a reload finds other models."""

from scheduler_by_hand import ByHand, needs, the_refusal

from modelrouter.errors import ModelReplaced, NeverFits, WorkerDied
from modelrouter.scheduler.effects import Grant, Load, Refuse, Unload
from modelrouter.types import ModelState


def test_a_worker_in_use_stays_until_its_lease_ends() -> None:
    """Its settings are of yesterday, its answer is not broken off; then the next kind comes."""
    core = ByHand(10, a=needs(4))
    core.at_work("a", 0)
    assert core.changed("a", a=needs(6)) == []
    assert core.arrived(1, "a") == []
    assert core.used() == 4
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("a")]
    assert core.used() == 6
    assert core.loaded("a") == [Grant(1, "a")]


def test_who_waits_for_a_replaced_model_is_to_ask_anew() -> None:
    """The prompt was made for the old one; who waits for others waits on."""
    core = ByHand(10, a=needs(5), b=needs(5))
    core.at_work("a", 0)
    core.at_work("b", 1)
    core.arrived(2, "a")
    core.arrived(3, "b")
    assert isinstance(the_refusal(core.changed("a", a=needs(4), b=needs(5))), ModelReplaced)
    assert core.left(1) == [Grant(3, "b")]


def test_an_idle_worker_of_a_changed_model_leaves_at_once() -> None:
    """A load of one is given up as well; an unchanged model is not touched."""
    core = ByHand(10, a=needs(3), b=needs(3), c=needs(3))
    core.ready("a", 0)
    core.ready("c", 1)
    core.arrived(2, "b")
    effects = core.changed("a", "b", a=needs(1), b=needs(1), c=needs(3))
    assert isinstance(effects[0], Refuse)
    assert effects[1:] == [Unload("a"), Unload("b")]


def test_a_removed_model_is_gone_with_its_worker() -> None:
    """Be it that the worker ended as it was told, or died; it may even come back before."""
    core = ByHand(10, a=needs(3), b=needs(3))
    core.ready("a", 0)
    assert core.changed(b=needs(3)) == [Unload("a")]
    assert core.room("a").state is ModelState.UNLOADING
    core.unloaded("a")
    assert list(core.core.rooms) == ["b"]
    core.at_work("b", 1)
    assert core.changed(c=needs(9)) == []
    assert core.changed(b=needs(2), c=needs(9)) == []
    core.died("b")
    assert core.arrived(2, "b") == [Load("b")]
    assert core.used() == 2


def test_a_resident_makes_room_for_the_one_that_comes_in_its_place() -> None:
    """Its room is no longer promised: the new one fits, and comes once the old one is gone."""
    core = ByHand(10, a=needs(8, is_resident=True), b=needs(4))
    core.at_work("a", 0)
    core.changed(b=needs(4), c=needs(8, is_resident=True))
    assert core.warmed("c") == []
    assert isinstance(the_refusal(core.arrived(1, "b")), NeverFits)
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("c")]


def test_residents_that_change_stand_in_line_by_the_file_again() -> None:
    """A worker that is to leave holds no room for a larger one in its place."""
    first, second = needs(5, is_resident=True), needs(8, is_resident=True)
    core = ByHand(10, a=first, b=needs(4, is_resident=True))
    core.at_work("b", 0)
    core.changed("b", a=first, b=second)
    assert isinstance(the_refusal(core.arrived(1, "b")), NeverFits)
    assert core.arrived(2, "a") == [Load("a")]


def test_a_resident_that_was_replaced_comes_back_by_itself() -> None:
    """It is warmed while the old worker still answers."""
    core = ByHand(10, a=needs(8, is_resident=True))
    core.at_work("a", 0)
    core.changed("a", a=needs(9, is_resident=True))
    assert core.warmed("a") == []
    assert core.left(0) == [Unload("a")]
    assert core.unloaded("a") == [Load("a")]


def test_a_model_that_was_left_alone_is_tried_again() -> None:
    """Other settings may be what it needed."""
    core = ByHand(10, a=needs(3))
    for ticket in range(4):
        core.arrived(ticket, "a", later=9)
        core.load_failed("a", WorkerDied("alas"))
    assert core.room("a").state is ModelState.FAILED
    core.changed("a", a=needs(3))
    assert core.arrived(9, "a") == [Load("a")]
