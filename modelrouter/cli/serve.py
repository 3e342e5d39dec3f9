"""`modelrouter serve`: the HTTP endpoint, until a signal ends it."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from modelrouter.cli import options
from modelrouter.config import find_config


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Listen on this address.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Listen on this port; 0 takes a free one.", min=0, max=65535),
    ] = None,
    policy: options.Policy = None,
    config: options.Config = None,
) -> None:
    """Answer over HTTP, in OpenAI's dialect, on this machine's loopback address."""
    import logging

    from modelrouter.app import App
    from modelrouter.client import KEY_VARIABLE
    from modelrouter.server import run

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    app = App.open(find_config(config), policy)
    written = app.settings.models_file.server
    run.serve(
        app,
        written.host if host is None else host,
        written.port if port is None else port,
        os.environ.get(KEY_VARIABLE) or None,
        announce=lambda url: _announce(url, app.notes),
    )


def _announce(url: str, notes: Sequence[str]) -> None:
    sys.stderr.writelines(f"note: {note}\n" for note in notes)
    sys.stderr.write(f"modelrouter listens on {url}\n")
    sys.stderr.flush()
