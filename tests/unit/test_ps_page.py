"""`modelrouter ps`: a status as a page of text."""

import textwrap

import pytest

from modelrouter.cli.ps import _page
from modelrouter.cli.table import table
from modelrouter.errors import EngineError

GIB = 2**30


def model(name: str, state: str, **more: object) -> dict[str, object]:
    """Return a model's place in the status, as the server's JSON has it."""
    place: dict[str, object] = {"model": name, "state": state, "is_resident": False}
    place |= {"footprint_bytes": GIB, "pinned_bytes": 0, "slots": 1, "active": 0, "waiting": 0}
    place |= {"loaded_share": None, "pinned_share": None, "pid": None}
    return place | {"failures": 0, "problem": None, **more}


def test_a_page() -> None:
    """Who is out has no memory; any pin is told beside the footprint; what failed stands below."""
    models = [
        model("coder", "ready", is_resident=True, slots=4, active=2, waiting=3, pid=4711),
        model("llama-65b", "ready", pinned_bytes=18 * GIB, pinned_share=0.5, pid=4712),
        model("mixtral", "ready", pinned_bytes=300 * 2**10, pid=4713),
        model("llama-70b", "loading", loaded_share=0.424),
        model("mistral", "unloaded", failures=1, problem="mistral: its disk is gone"),
        model("broken", "failed", failures=4, problem="broken: no such tensor"),
    ]
    page = _page({"budget_bytes": 22 * GIB, "used_bytes": 21 * GIB, "models": models})
    assert page == textwrap.dedent(
        """\
        NAME       STATE              RESIDENCY  MEMORY                SLOTS  WAITING  PID
        coder      ready              resident   1.00 GiB              2/4    3        4711
        llama-65b  ready, 50% pinned  mapped     1.00 + 18.00 GiB      0/1    0        4712
        mixtral    ready              mapped     1.00 GiB + 300.0 KiB  0/1    0        4713
        llama-70b  loading 42%        mapped     1.00 GiB              0/1    0        -
        mistral    unloaded           mapped     -                     0/1    0        -
        broken     failed             mapped     -                     0/1    0        -
        mistral failed: its disk is gone
        broken failed 4 times in a row: no such tensor
        21.00 of 22.00 GiB used
        """
    )


def test_a_status_of_another_kind_is_told_as_such() -> None:
    """A server of another version, or no modelrouter at all, causes no traceback."""
    with pytest.raises(EngineError, match="does not speak modelrouter's dialect"):
        _page({"budget_bytes": 1, "used_bytes": 1, "models": [{"name": "a"}]})


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Two spaces stand between columns, none at a line's end."""
    assert table([("A", "LONG"), ("wide", "x")]) == ["A     LONG", "wide  x"]
