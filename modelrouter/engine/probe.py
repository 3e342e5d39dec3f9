"""The probe: a short-lived process that has llama.cpp plan a model's memory, and tells the plan.

It reads one Load from its standard input and writes one Planned or Failed to its standard output. A
file that llama.cpp cannot bear ends this process and nothing else.
"""

import os
import sys

from modelrouter.engine.buffers import planned
from modelrouter.engine.protocol import HEADER, Failed, FromProbe, Load, body_length, frame, parse
from modelrouter.errors import EngineError, ModelRouterError


def main() -> None:
    """Answer the one message."""
    os.environ["GGML_NO_BACKTRACE"] = "1"  # as in the worker
    sys.stdout.buffer.write(frame(_answer()))


def _answer() -> FromProbe:
    try:
        return planned(_asked())
    except ModelRouterError as error:
        return Failed(None, error.code, error.message, error.hint)


def _asked() -> Load:
    source = sys.stdin.buffer
    message = parse(source.read(body_length(source.read(HEADER.size))))
    if not isinstance(message, Load):
        raise EngineError(f"expected Load, got {type(message).__name__}")
    return message


if __name__ == "__main__":
    main()
