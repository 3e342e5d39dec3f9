"""`modelrouter models rehearse`: what a model would do on this box, before it is downloaded.

Arguments in, sentences out; the work is `modelrouter.rehearsal`'s.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from modelrouter.cli import options
from modelrouter.cli.progress import progress_on_stderr
from modelrouter.cli.table import in_seconds
from modelrouter.client import find_server
from modelrouter.config import ConfigSource, find_config
from modelrouter.errors import CapacityError, RequestError
from modelrouter.memory.sizes import in_words

if TYPE_CHECKING:
    from modelrouter.app import App
    from modelrouter.classifier.progress import Progress
    from modelrouter.rehearsal.findings import Findings
    from modelrouter.rehearsal.stage import Part, Stage

Name = Annotated[
    str | None,
    typer.Argument(help="A model of models.toml, with its own file.", show_default=False),
]


def rehearse(
    name: Name = None,
    *,
    geometry: Annotated[
        str | None,
        typer.Option(help="A well-known model, such as llama-65b.", show_default=False),
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option(help="How its weights are stored; left out, Q4_K.", show_default=False),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="The most tokens of each context; left out, 1024.", min=256, show_default=False
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            help="The most answers at once; left out, 4.", min=1, max=64, show_default=False
        ),
    ] = None,
    kv_type: Annotated[
        Literal["f16", "q8_0", "q4_0"] | None,
        typer.Option(help="How contexts are stored; left out, it depends.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Write the file in here; left out, the cache folder.", show_default=False
        ),
    ] = None,
    as_json: options.AsJson = False,
    config: options.Config = None,
) -> None:
    """Try how fast a model would be: write a file of its size, run it, remove it."""
    if (name is None) == (geometry is None):
        raise RequestError(
            "name either a model of models.toml or a --geometry",
            hint="modelrouter models rehearse --geometry llama-65b --quant Q4_K",
        )
    if name is not None:
        only_parts = {"quant": quant, "context": context, "slots": slots, "kv-type": kv_type}
        _refuse_beside_a_name({**only_parts, "folder": folder})
    source = find_config(config)
    _refuse_beside_a_server(source)
    with _ended_by_signals():
        if name is not None:
            found = _rehearse_own(name, source)
        else:
            from modelrouter.rehearsal.stage import Part

            part = Part(geometry or "", quant or "Q4_K", context or 1024, slots or 4, kv_type)
            found = _rehearse_part(part, source, folder)
    if as_json:
        sys.stdout.write(json.dumps(found.to_json(), ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(found))


def _rehearse_own(name: str, source: ConfigSource) -> "Findings":
    """Rehearse a model of models.toml."""
    from modelrouter.rehearsal.stage import own_app

    app = own_app(source)
    with progress_on_stderr(is_told=True) as progress:
        return _perform(app, name, None, progress)


def _rehearse_part(part: "Part", source: ConfigSource, folder: Path | None) -> "Findings":
    """Write the part's file, rehearse it, and remove it whatever happens."""
    from platformdirs import user_cache_path

    from modelrouter.rehearsal.stage import staged

    with ExitStack() as block:
        stage = block.enter_context(staged(part, source, folder or user_cache_path("modelrouter")))
        _say(_before_writing(stage))
        progress = block.enter_context(progress_on_stderr(is_told=True))
        began = time.monotonic()
        app = stage.write(
            lambda done, total: progress("writing the file, MiB", done >> 20, total >> 20)
        )
        return _perform(app, part.model, time.monotonic() - began, progress)


def _perform(
    app: "App", model: str, written_seconds: float | None, progress: "Progress"
) -> "Findings":
    from modelrouter.memory.speeds import kept_in
    from modelrouter.rehearsal.performance import perform

    return perform(app, model, written_seconds, progress, kept_in())


def _before_writing(stage: "Stage") -> str:
    """Return what is about to be written, and what is expected of it where that is known."""
    from modelrouter.memory import speeds
    from modelrouter.rehearsal.outlook import outlook

    known = speeds.read(speeds.kept_in())
    seconds = outlook(stage.plan, stage.part.model, known).pace.seconds
    said = (
        f"{stage.part.model}: a file of {in_words(stage.n_bytes)} is written to {stage.folder} "
        f"({in_words(stage.free_bytes)} free) and removed in the end"
    )
    return said if seconds is None else f"{said}; about {in_seconds(seconds)} a token expected"


def _refuse_beside_a_name(values: Mapping[str, object]) -> None:
    """Raise RequestError where an option has a value that only a --geometry takes."""
    given = [f"--{option}" for option, value in values.items() if value is not None]
    if given:
        raise RequestError(
            f"{', '.join(given)}: for a --geometry; a model of models.toml is rehearsed as it is",
            hint="leave them out, or change the model's entry in models.toml",
        )


def _refuse_beside_a_server(source: ConfigSource) -> None:
    if (server := find_server(source, None)) is not None:
        raise CapacityError(
            f"the server at {server.url} has the memory that the rehearsal would use",
            hint="stop it for as long as the rehearsal takes",
        )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a terminal that hangs up end the block as Ctrl-C does: cleanly."""

    def interrupt(_number: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# ── the findings in words ────────────────────────────────────────────────────────────────────────


def _lines(found: "Findings") -> Iterator[str]:
    narrowed = ", narrowed to fit" if found.is_narrowed else ""
    yield (
        f"{found.model}: {in_words(found.weights_bytes)} of weights, "
        f"{found.slots} x {found.context_tokens:,} tokens{narrowed}"
    )
    yield f"memory    {_memory(found)}"
    yield f"load      {_load(found)}"
    yield f"alone     {in_seconds(found.alone.seconds_a_token)} a token{_off(found)}"
    if (together := found.together) is not None:
        yield (
            f"{together.at_once} at once {in_seconds(together.seconds_a_token)} a token of each, "
            f"{in_seconds(together.seconds_a_token_of_all)} a token of all together"
        )
    prefill = found.prefill
    yield f"prompt    {prefill.tokens_per_second:.3g} tokens/s ({prefill.tokens} at a time)"
    yield f"disk      {_disk(found)}"
    yield f"limit     {_limit(found)}"
    yield from _more(found)


def _memory(found: "Findings") -> str:
    box = found.box
    said = f"{in_words(found.footprint_bytes)} of {in_words(box.budget_bytes)} for models"
    if box.resident_bytes:
        said += f", of which resident ones have {in_words(box.resident_bytes)}"
    if found.is_resident:
        return said
    return f"{said}; {in_words(found.pinned_bytes)} of its weights pinned"


def _load(found: "Findings") -> str:
    pinned = f", and {in_seconds(found.pin_seconds)} until all was pinned"
    written = found.written_seconds
    return (
        f"{in_seconds(found.load_seconds)}{pinned if found.pinned_bytes else ''}"
        f"{'' if written is None else f'; the file was written in {in_seconds(written)}'}"
    )


def _off(found: "Findings") -> str:
    return (
        ""
        if found.predicted_seconds is None
        else f" ({in_seconds(found.predicted_seconds)} predicted)"
    )


def _disk(found: "Findings") -> str:
    gives = "" if found.box.disk is None else f"it gives {found.box.disk / 1e9:.2f} GB/s"
    if found.read_bytes is None:
        return f"{gives}; what a token reads is not told here"
    if found.disk_bytes_per_second is None or not found.from_disk_bytes:
        return f"{gives}; nothing is read from it for a token"
    came = found.disk_bytes_per_second / 1e9
    return f"{in_words(found.read_bytes)} read for a token, {came:.2f} GB/s; {gives}"


def _limit(found: "Findings") -> str:
    where = "some weights are read from disk" if found.from_disk_bytes else "all are in memory"
    return {
        "disk": "the disk: what is not in memory is read again for every token",
        "memory": f"memory, which gives {found.box.memory / 1e9:.1f} GB/s",
        "CPU": f"the CPU: it multiplies weights no faster; {where}",
    }[found.limit]


def _more(found: "Findings") -> Iterator[str]:
    """Yield what more memory would bring."""
    steps = list(found.more_memory.items())
    if not steps:
        yield "more RAM  would not make it faster"
    for number, (size_bytes, seconds) in enumerate(steps):
        lead = "more RAM " if number == 0 else "         "
        last = ", all of it in memory" if number == len(steps) - 1 else ""
        yield (
            f"{lead} with {in_words(size_bytes)} for models it would run at about "
            f"{in_seconds(seconds)} a token{last}"
        )
