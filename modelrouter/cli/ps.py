"""`modelrouter ps`: what runs on the server, and who has what of its memory.

It shows what the server says; it starts nothing and asks no model.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from modelrouter.cli import options
from modelrouter.cli.table import gib, table
from modelrouter.cli.waiting import can_rewrite
from modelrouter.client import our_dialect, running_server
from modelrouter.config import find_config
from modelrouter.memory.sizes import in_words

HEADINGS = ("NAME", "STATE", "RESIDENCY", "MEMORY", "SLOTS", "WAITING", "PID")

Status = dict[str, Any]
"""Status.to_json of the scheduler."""


def ps(
    *,
    as_json: options.AsJson = False,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Show each change, until Ctrl-C.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Show the models of the running server: which are loaded, at work, waited for."""
    server = running_server(find_config(config))
    if not watch:
        sys.stdout.write(_json(server.status()) if as_json else _page(server.status()))
    elif as_json or not can_rewrite(sys.stdout):
        _print_each(server.statuses(), as_json=as_json)
    else:
        _redraw(server.statuses())


def _print_each(statuses: Iterable[Status], *, as_json: bool) -> None:
    """Print a line of JSON for each change, or a page and an empty line."""
    for status in statuses:
        sys.stdout.write(_json(status) if as_json else f"{_page(status)}\n")
        sys.stdout.flush()


def _redraw(statuses: Iterable[Status]) -> None:
    """Draw the page anew in its place with each change."""
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        for status in statuses:
            live.update(Text(_page(status).rstrip()), refresh=True)


def _json(status: Status) -> str:
    return json.dumps(status, ensure_ascii=False) + "\n"


def _page(status: Status) -> str:
    """Return the table, what failed, and how much of the budget is used."""
    with our_dialect():
        lines = table([HEADINGS, *map(_cells, status["models"])])
        lines += _failures(status["models"])
        used, budget = gib(status["used_bytes"]), gib(status["budget_bytes"])
        return "\n".join([*lines, f"{used} of {budget} GiB used", ""])


def _cells(model: dict[str, Any]) -> tuple[str, ...]:
    return (
        model["model"],
        _state(model),
        "resident" if model["is_resident"] else "mapped",
        _memory(model),
        f"{model['active']}/{model['slots']}",
        str(model["waiting"]),
        str(model["pid"] or "-"),
    )


def _state(model: dict[str, Any]) -> str:
    """Return the state, and how much of the load is done, or of pinning what it is to pin."""
    if (share := model["loaded_share"]) is not None:
        return f"{model['state']} {share:.0%}"
    if (share := model["pinned_share"]) is not None:
        return f"{model['state']}, {share:.0%} pinned"
    return str(model["state"])


def _memory(model: dict[str, Any]) -> str:
    """Return what the model has of the budget: its footprint, and what it pins beyond that."""
    if model["state"] in {"unloaded", "failed"}:
        return "-"
    footprint, pinned = gib(model["footprint_bytes"]), gib(model["pinned_bytes"])
    if not model["pinned_bytes"]:
        return f"{footprint} GiB"
    if float(pinned) == 0:
        return f"{footprint} GiB + {in_words(model['pinned_bytes'])}"
    return f"{footprint} + {pinned} GiB"


def _failures(models: list[dict[str, Any]]) -> Iterator[str]:
    """Yield how often each model has failed since it last worked, and of what at last."""
    for model in models:
        if model["failures"]:
            times = "" if model["failures"] == 1 else f" {model['failures']} times in a row"
            last_words = model["problem"].removeprefix(f"{model['model']}: ")
            yield f"{model['model']} failed{times}: {last_words}"
