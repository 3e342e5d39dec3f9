"""`modelrouter models`: the models of models.toml."""

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

from modelrouter.cli import options
from modelrouter.config import find_config, load

if TYPE_CHECKING:
    from modelrouter.registry import Catalogue

HEADINGS = ("NAME", "ROLES", "TYPE", "WEIGHTS", "FILE", "RESIDENCY", "CONTEXT", "NEEDS")

app = typer.Typer(no_args_is_help=True, help="The models of models.toml.")


@app.callback()
def models() -> None:
    """Keep `list` a command of its own, while it is the only one."""


@app.command("list")
def list_models(*, as_json: options.AsJson = False, config: options.Config = None) -> None:
    """List the models: what their files say, their roles, and why one cannot be used."""
    from modelrouter.registry import catalogue

    found = catalogue(load(find_config(config)))
    rows = [_row(name, found) for name in found.reasons]
    if as_json:
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    usable = [row for row in rows if row["problem"] is None]
    table = [HEADINGS, *(_cells(row) for row in usable)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    for row in rows:
        if row["problem"] is not None:
            sys.stdout.write(f"{row['name']} cannot be used: {row['problem']}\n")


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
        "residency": "resident" if spec.is_resident else "mapped",
        "context_tokens": spec.context_tokens,
        "slots": spec.slots,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        ", ".join(row["roles"]) or "-",
        row["quantization"],
        f"{row['parameters'] / 1e9:.2f} B",
        _size(row["weights_bytes"]),
        row["residency"],
        f"{row['slots']} x {row['context_tokens']:,}",
        _size(row["footprint_bytes"]),
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
