"""Options that several commands share, and what they mean."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Use this models.toml.", show_default=False),
]
Policy = Annotated[
    str | None,
    typer.Option("--policy", help="Use this policy instead of models.toml's.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Model = Annotated[
    str | None,
    typer.Option("-m", "--model", help="Ask this model or role, whatever the policy says."),
]
System = Annotated[
    str | None,
    typer.Option("-s", "--system", help="Tell the model how to behave.", show_default=False),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A word for the policy's rules; may come again."),
]
Prompt = Annotated[
    list[str] | None,
    typer.Argument(
        help="The question. Text piped in comes before it; `-` reads it all from there.",
        show_default=False,
    ),
]
