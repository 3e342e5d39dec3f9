"""`modelrouter plan`: the budget as bars: who has what, what is pinned, what is left.

Nothing is loaded; the figures are those that the scheduler goes by.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelrouter.cli import options
from modelrouter.cli.table import in_seconds
from modelrouter.config import find_config
from modelrouter.memory.sizes import in_words

if TYPE_CHECKING:
    from modelrouter.app import App
    from modelrouter.memory.plan import Share
    from modelrouter.memory.speeds import Speed

BAR_CELLS = 60

RESIDENT, NEEDED, PINNED, LEFT = "█", "▓", "▒", "·"


def plan(
    *,
    as_json: options.AsJson = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure memory and disks first: a few seconds.")
    ] = False,
    config: options.Config = None,
) -> None:
    """Show who would get what of the memory, and how fast it would be, without loading anything."""
    from modelrouter.app import App
    from modelrouter.memory.speeds import kept_in
    from modelrouter.rehearsal import outlook

    app = App.open(find_config(config))
    if measure:
        outlook.measure(app.catalogue.specs.values(), kept_in())
    explanation = _explanation(app)
    if as_json:
        sys.stdout.write(json.dumps(explanation, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(explanation, app.notes)) + "\n")


def _explanation(app: "App") -> dict[str, Any]:
    from modelrouter.memory import speeds

    budget, known = app.budget, speeds.read(speeds.kept_in())
    return {
        "budget": {
            "models_bytes": budget.models_bytes,
            "ram_bytes": budget.ram_bytes,
            "reserve_bytes": budget.reserve_bytes,
            "origin": budget.origin,
            "notes": list(budget.notes),
        },
        "machine": dataclasses.asdict(app.machine),
        "speeds": {key: dataclasses.asdict(speed) for key, speed in known.items()},
        "resident_bytes": app.plan.resident_bytes,
        "models": [_model(app, share, known) for share in app.plan.shares],
        "unusable": {name: error.message for name, error in app.catalogue.unusable.items()},
    }


def _model(app: "App", share: "Share", known: Mapping[str, "Speed"]) -> dict[str, Any]:
    spec = app.catalogue.specs[share.wish.model]
    refusal = app.scheduler.never_fits(spec.name)
    return {
        "model": spec.name,
        "residency": "resident" if spec.is_resident else "mapped",
        "context_tokens": spec.context_tokens,
        "slots": spec.slots,
        "is_narrowed": share.is_narrowed,
        "footprint_bytes": spec.charged_bytes,
        "footprint": dataclasses.asdict(spec.footprint),
        "window_bytes": spec.window_bytes,
        "weights_bytes": spec.facts.weights_bytes,
        "pinned_bytes": share.pinned_bytes,
        "problem": None if refusal is None else refusal.message,
        "would_fit": None if refusal is None else _would_fit(app, spec.name),
        "pace": None if refusal is not None else _pace(app, spec.name, known),
    }


def _pace(app: "App", model: str, known: Mapping[str, "Speed"]) -> dict[str, Any]:
    from modelrouter.rehearsal.outlook import outlook

    found = outlook(app, model, known)
    return {
        "touched_bytes": found.one.touched_bytes,
        "streamed_bytes": found.one.streamed_bytes,
        **dataclasses.asdict(found.pace),
        "predicted_seconds_a_token": found.pace.seconds,
        "limit": found.pace.limit,
        "measured_seconds_a_token": found.measured_seconds,
        "times_measured": found.times_measured,
        "measured_prefill_tokens_per_second": found.prefill_tokens_per_second,
    }


def _would_fit(app: "App", model: str) -> str | None:
    """Return the largest context with which a model that does not fit would, None where none is."""
    from modelrouter.engine.footprints import measured
    from modelrouter.registry import narrower

    ladder = narrower(app.catalogue.specs[model])
    if not ladder:
        return None
    found = measured(app.catalogue.of_ladders({model: ladder}))
    room_bytes = app.budget.models_bytes - app.plan.resident_bytes
    fits = (spec for spec in found.ladders[model] if spec.charged_bytes <= room_bytes)
    widest = next(fits, None)
    return None if widest is None else f"slots = 1 and context = {widest.context_tokens}"


def _lines(explanation: dict[str, Any], notes: Sequence[str]) -> list[str]:
    budget = explanation["budget"]
    resident_bytes, all_bytes = explanation["resident_bytes"], budget["models_bytes"]
    ram, reserve = in_words(budget["ram_bytes"]), in_words(budget["reserve_bytes"])
    lines = [
        f"budget    {in_words(all_bytes)}: {ram} ({budget['origin']}) less {reserve} of reserve",
        "",
        *(f"note      {note}" for note in notes),
        f"resident  {_bar(all_bytes, (RESIDENT, resident_bytes))}",
    ]
    residents = [m for m in explanation["models"] if m["residency"] == "resident"]
    lines += [f"          {said}" for model in residents for said in _sentences(model)]
    for model in explanation["models"]:
        if model["residency"] == "mapped":
            needed = 0 if model["problem"] else model["footprint_bytes"]
            parts = (RESIDENT, resident_bytes), (NEEDED, needed), (PINNED, model["pinned_bytes"])
            lines += ["", f"mapped    {_bar(all_bytes, *parts)}"]
            lines += [f"          {said}" for said in _sentences(model)]
    lines += [
        f"{name} cannot be used: {reason}" for name, reason in explanation["unusable"].items()
    ]
    legend = f"{RESIDENT} resident models  {NEEDED} context and buffers  {PINNED} pinned weights"
    return [*lines, "", f"{legend}  {LEFT} left"]


def _sentences(model: dict[str, Any]) -> list[str]:
    return [_sentence(model), *([_pace_sentence(model["pace"])] if model["pace"] else [])]


def _pace_sentence(pace: dict[str, Any]) -> str:
    """Return how fast a model should be, how fast it was, and how far off that is."""
    predicted, measured = pace["predicted_seconds_a_token"], pace["measured_seconds_a_token"]
    if predicted is None:
        said = "how fast it would be is not known yet: `modelrouter plan --measure` finds out"
    else:
        said = f"about {in_seconds(predicted)} a token predicted, by the {pace['limit']}"
        if pace["streamed_bytes"]:
            said += f": {in_words(pace['streamed_bytes'])} of it from disk"
    if measured is None:
        return said
    said += f"; {in_seconds(measured)} measured"
    if pace["times_measured"] is None:
        return said
    return f"{said} (predicted is {pace['times_measured']:.2f} of it)"


def _sentence(model: dict[str, Any]) -> str:
    """Return what a model gets, in words."""
    if model["problem"]:
        would = f"; it would fit with {model['would_fit']}" if model["would_fit"] else ""
        return f"{model['problem']}{would}"
    said = f"{model['model']}: {in_words(model['footprint_bytes'])}"
    said += f" for {model['slots']} x {model['context_tokens']:,} tokens"
    if model["is_narrowed"]:
        said += ", narrowed to fit"
    if model["residency"] == "mapped":
        said += (
            f"; {in_words(model['pinned_bytes'])} of its {in_words(model['weights_bytes'])} pinned"
        )
    return said


def _bar(all_bytes: int, *parts: tuple[str, int]) -> str:
    """Return a bar of the budget, 60 cells wide; what is not nothing has one at least."""
    bar = ""
    end_bytes = 0
    for mark, size_bytes in parts:
        end_bytes += size_bytes
        cells = round(end_bytes / all_bytes * BAR_CELLS) - len(bar)
        bar += mark * max(cells, 1 if size_bytes else 0)
    return bar[:BAR_CELLS].ljust(BAR_CELLS, LEFT)
