"""`modelrouter classifier`: train one on prompts of your own, and see how often one is right.

Arguments in, text out; what a figure means is the classifier's affair.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from modelrouter.cli.progress import progress_on_stderr
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
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON list, an object a file.")]
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
    from modelrouter.classifier.artifact import MANIFEST_NAME, files_of

    with progress_on_stderr() as progress:
        report = train_on(files, out, progress)
    written = ", ".join([MANIFEST_NAME, *sorted(files_of(out))])
    sys.stdout.write(f"{report}\nwritten to {out}: {written}\n")


@app.command("eval")
def evaluate(
    files: Files,
    *,
    classifier: Folder = None,
    held_out: HeldOut = False,
    as_json: AsJson = False,
) -> None:
    """Say how often, how surely and how fast a classifier is right on labelled prompts."""
    from modelrouter.classifier import Classifier
    from modelrouter.classifier.dataset import read_sources
    from modelrouter.classifier.evaluation import as_text, evaluate_files

    loaded = Classifier.load(classifier)
    found = evaluate_files(loaded, read_sources(files), held_out=held_out)
    sys.stdout.write(as_text(found, as_json=as_json))
