"""What others may see of the scheduler: what a request waits for, in words, and the status."""

import json

from modelrouter.errors import WorkerDied
from modelrouter.scheduler import snapshot
from modelrouter.scheduler.core import Core
from modelrouter.scheduler.effects import Needs, Priority, Ticket
from modelrouter.scheduler.snapshot import Worker

GIB = 2**30


def core_of(*, slots: int = 1, budget_bytes: int = 3 * GIB) -> Core:
    """Return a core with two models of 2 GiB, of which the budget holds one."""
    needs = Needs(2 * GIB, slots, is_resident=False)
    return Core({"a": needs, "b": needs}, budget_bytes, max_waiting=8)


def arrive(core: Core, ticket: int, model: str = "a", **more: Priority) -> None:
    """Let a request come for a model."""
    core.arrived(Ticket(ticket, model, since=float(ticket), **more))


def said(core: Core, ticket: int, **workers: Worker) -> str | None:
    """Return what the request waits for, in words."""
    wait = snapshot.wait(core, ticket, workers)
    return None if wait is None else str(wait)


def test_a_load_says_how_far_it_is_once_that_is_known() -> None:
    """Before that it says that there is a load; a share is a whole percent."""
    core = core_of()
    arrive(core, 1)
    assert said(core, 1) == "loading a"
    assert said(core, 1, a=Worker(loaded_share=0.426)) == "loading a 43%"


def test_a_mapped_model_says_how_much_of_it_is_there() -> None:
    """It is loaded at once, and reads slowly as long as what it pins comes from the disk."""
    core = core_of()
    arrive(core, 1)
    core.loaded("a", 3.0)
    assert said(core, 1, a=Worker(pinned_share=0.426)) == (
        "a is reading the prompt; 43% of what stays in memory is there"
    )
    assert said(core, 1, a=Worker()) == "a is reading the prompt"


def test_a_line_says_who_is_before() -> None:
    """Those before are who is served before: an editor goes before a chat that came first."""
    core = core_of()
    for ticket in (1, 2, 3):
        arrive(core, ticket)
    core.loaded("a", 3.0)
    arrive(core, 4, priority=Priority.INTERACTIVE)
    assert [said(core, ticket) for ticket in (1, 4, 2, 3)] == [
        "a is reading the prompt",
        "waiting for a: you are next",
        "waiting for a: 1 before you",
        "waiting for a: 2 before you",
    ]
    core.left(1, 4.0)
    assert said(core, 2) == "waiting for a: you are next"


def test_who_waits_for_memory_is_told_so() -> None:
    """The model cannot be loaded until another's requests have ended and it has left."""
    core = core_of()
    arrive(core, 1)
    core.loaded("a", 1.0)
    arrive(core, 2, "b")
    arrive(core, 3, "b")
    assert said(core, 2) == "waiting until b can be loaded"
    assert said(core, 3) == "waiting for b: 1 before you"
    core.left(1, 3.0)
    assert said(core, 2) == "waiting until b can be loaded"
    core.unloaded("a", 4.0)
    assert said(core, 2) == "loading b"


def test_who_has_left_waits_for_nothing() -> None:
    """There are no words for a request that is over, or that never was."""
    core = core_of()
    arrive(core, 1)
    core.left(1, 1.0)
    assert said(core, 1) is None
    assert said(core, 7) is None


def test_the_status_is_plain_json() -> None:
    """Everything a surface shows is in it, by name, with the process and the failures."""
    core = core_of(slots=2)
    arrive(core, 1)
    core.loaded("a", 1.0)
    core.died("a", WorkerDied("a: the worker died"), 2.0)
    arrive(core, 2)
    core.loaded("a", 3.0)
    status = snapshot.status(core, {"a": Worker(pid=17)})
    assert status.of("b").state.value == "unloaded"
    assert json.loads(json.dumps(status.to_json()))["models"][0] == {
        "model": "a",
        "state": "ready",
        "is_resident": False,
        "footprint_bytes": 2 * GIB,
        "pinned_bytes": 0,
        "slots": 2,
        "active": 1,
        "waiting": 0,
        "load_seconds": 1.0,
        "loaded_share": None,
        "pinned_share": None,
        "pid": 17,
        "failures": 1,
        "problem": "a: the worker died",
    }
