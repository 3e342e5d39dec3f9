"""`modelrouter models`: the models of models.toml, and those of the running server by hand."""

import dataclasses
import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelrouter.cli import options, rehearse
from modelrouter.cli.table import gib, table
from modelrouter.cli.waiting import WaitLine
from modelrouter.client import running_server
from modelrouter.config import find_config, load

if TYPE_CHECKING:
    from modelrouter.registry import Catalogue

HEADINGS = ("NAME", "ROLES", "TYPE", "WEIGHTS", "FILE", "RESIDENCY", "CONTEXT", "NEEDS")

Name = Annotated[str, typer.Argument(help="A model of models.toml.", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="The models of models.toml.")
app.command("rehearse")(rehearse.rehearse)


@app.command("list")
def list_models(*, as_json: options.AsJson = False, config: options.Config = None) -> None:
    """List the models: what their files say, their roles, and why one cannot be used."""
    from modelrouter.engine.footprints import measured
    from modelrouter.registry import catalogue

    found = measured(catalogue(load(find_config(config))))
    rows = [_row(name, found) for name in found.reasons]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    usable = [row for row in rows if row["problem"] is None]
    lines = table([HEADINGS, *(_cells(row) for row in usable)])
    sys.stdout.writelines(f"{line}\n" for line in lines)
    for row in rows:
        if row["problem"] is not None:
            sys.stdout.write(f"{row['name']} cannot be used: {row['problem']}\n")


@app.command("load")
def load_model(name: Name, *, config: options.Config = None) -> None:
    """Load a model on the running server, also one that has failed; wait until it is there."""
    server = running_server(find_config(config))
    with closing(WaitLine()) as line:
        state = server.load(name, line.show)
    sys.stdout.write(f"{name} is {state}\n")


@app.command("unload")
def unload_model(name: Name, *, config: options.Config = None) -> None:
    """Unload a model on the running server, once nobody uses it; wait until its memory is back."""
    server = running_server(find_config(config))
    with closing(WaitLine()) as line:
        state = server.unload(name, line.show)
    sys.stdout.write(f"{name} is {state}\n")


def _row(name: str, found: "Catalogue") -> dict[str, Any]:
    roles = [role for role, models in found.roles.items() if name in models]
    spec = found.specs.get(name)
    if spec is None:
        return {"name": name, "roles": roles, "problem": found.reasons[name]}
    return {
        "name": name,
        "roles": roles,
        "problem": None,
        "path": str(spec.facts.path),
        "architecture": spec.facts.architecture,
        "quantization": spec.facts.file_type,
        "parameters": spec.facts.parameters,
        "weights_bytes": spec.facts.weights_bytes,
        "footprint_bytes": spec.footprint.total_bytes,
        "footprint": dataclasses.asdict(spec.footprint),
        "residency": "resident" if spec.is_resident else "mapped",
        "context_tokens": spec.context_tokens,
        "slots": spec.slots,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    is_exact = row["footprint"]["origin"] == "llama.cpp"
    return (
        row["name"],
        ", ".join(row["roles"]) or "-",
        row["quantization"],
        f"{row['parameters'] / 1e9:.2f} B",
        f"{gib(row['weights_bytes'])} GiB",
        row["residency"],
        f"{row['slots']} x {row['context_tokens']:,}",
        f"{'' if is_exact else '~'}{gib(row['footprint_bytes'])} GiB",
    )
