"""`modelrouter classifier`: train one on prompts of your own, and see how often one is right.

Arguments in, text out; what a figure means is the classifier's affair.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelrouter.cli import options
from modelrouter.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Train and evaluate the prompt classifier.")

Files = Annotated[
    list[Path],
    typer.Argument(help="Labelled prompts as JSON lines; data/README.md says what is in a line."),
]
Out = Annotated[Path, typer.Option("--out", help="Write the classifier into this folder.")]
Folder = Annotated[
    Path | None,
    typer.Option("--classifier", help="Use the one in this folder.", show_default="the shipped"),
]
HeldOut = Annotated[bool, typer.Option("--held-out", help="Only what is never trained on.")]


@app.command()
def train(files: Files, *, out: Out = Path("classifier")) -> None:
    """Train a classifier on labelled prompts of any fields, and report on those held out."""
    try:
        from modelrouter.classifier.training import train as train_on
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"training needs the package {error.name}",
            hint="pip install 'modelrouter[training]'",
        ) from error
    sys.stdout.write(f"{train_on(files, out)}\nwritten to {out}\n")


@app.command("eval")
def evaluate(
    files: Files,
    *,
    classifier: Folder = None,
    held_out: HeldOut = False,
    as_json: options.AsJson = False,
) -> None:
    """Say how often, how surely and how fast a classifier is right on labelled prompts."""
    from modelrouter.classifier import Classifier
    from modelrouter.classifier.dataset import read_sources
    from modelrouter.classifier.evaluation import as_table
    from modelrouter.classifier.evaluation import evaluate as evaluate_on

    rows = [row for source in read_sources(files) for row in source.rows]
    asked = [row for row in rows if not held_out or row.part == "held_out"]
    found = evaluate_on(Classifier.load(classifier), asked)
    if as_json:
        sys.stdout.write(json.dumps([each.to_json("file") for each in found], indent=2) + "\n")
    else:
        sys.stdout.write(as_table(found, "file"))
