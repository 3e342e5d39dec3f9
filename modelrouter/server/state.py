"""What every route may ask of the server that it runs in: its parts, and whether it is to stop."""

from fastapi import Request

from modelrouter.app import App


def app_of(request: Request) -> App:
    """Return the parts that answer."""
    app: App = request.app.state.app
    return app


def is_stopping(request: Request) -> bool:
    """Tell whether the server was asked to stop: time for whoever only watches to go."""
    stopping: bool = request.app.state.is_stopping()
    return stopping
