"""The command line: `modelrouter ask`, `route`, `serve`, `check`, `models`.

Arguments in, text out; everything in between is somebody else's. Commands import what they need
when they run: `--help` must not wait for numpy.
"""

import sys

import typer

from modelrouter.cli import ask, check, models, route, serve
from modelrouter.errors import ModelRouterError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Route each prompt to the model on this machine that suits it.",
)
app.command()(ask.ask)
app.command()(route.route)
app.command()(serve.serve)
app.command()(check.check)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command; say errors in words and leave with the exit code of their class.

    Typer itself sees to Ctrl-C (130) and to a reader that leaves (1, quietly).
    """
    try:
        app()
    except ModelRouterError as error:
        sys.stdout.flush()
        _complain(error)
        sys.exit(error.exit_code)


def _complain(error: ModelRouterError) -> None:
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
