"""The command line: `modelrouter ask`, `route`, `serve`, `ps`, `check`, `plan`, `models`, `policy`,
`classifier`.

Arguments in, text out; everything in between is somebody else's. Commands import what they need
when they run: `--help` must not wait for numpy.
"""

import io
import os
import sys
from pathlib import Path

import typer

from modelrouter.cli import ask, check, classifier, models, plan, policy, ps, route, serve
from modelrouter.errors import ModelRouterError

FILE_ERROR = 74
"""EX_IOERR of sysexits.h."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Route each prompt to the model on this machine that suits it.",
)
app.command()(ask.ask)
app.command()(route.route)
app.command()(serve.serve)
app.command()(ps.ps)
app.command()(check.check)
app.command()(plan.plan)
app.add_typer(models.app, name="models")
app.add_typer(policy.app, name="policy")
app.add_typer(classifier.app, name="classifier")


def main() -> None:
    """Run the command; say errors in words and leave with the exit code of their class.

    Typer itself sees to Ctrl-C (130) and to a reader that leaves (1, quietly).
    """
    _make_streams_writable()
    try:
        app()
    except ModelRouterError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk behind stdout, a folder that was removed
        sys.stderr.write(f"error: {error}\n")
        sys.exit(FILE_ERROR)


def _make_streams_writable() -> None:
    """Let a closed stdout or stderr swallow what is written, and a narrow encoding escape it."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - for the whole run
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(error: ModelRouterError) -> None:
    sys.stderr.write(f"error: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
