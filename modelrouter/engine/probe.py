"""The probe: a short-lived process that has llama.cpp plan a model's memory, and tells the plan.

It reads Loads of one file from its standard input to the end, and writes a Planned for each to its
standard output, or Failed and no more. A file that llama.cpp cannot bear ends this process only.
"""

import os
import sys
from collections.abc import Iterator

from modelrouter.engine.buffers import plans
from modelrouter.engine.protocol import Failed, FromProbe, Load, frame, messages
from modelrouter.errors import EngineError, ModelRouterError


def main() -> None:
    """Answer what was asked."""
    os.environ["GGML_NO_BACKTRACE"] = "1"  # as in the worker
    for answer in _answers():
        sys.stdout.buffer.write(frame(answer))
        sys.stdout.buffer.flush()  # what is known outlives what comes next


def _answers() -> Iterator[FromProbe]:
    try:
        yield from plans(list(_asked()))
    except ModelRouterError as error:
        yield Failed(None, error.code, error.message, error.hint)


def _asked() -> Iterator[Load]:
    for message in messages(sys.stdin.buffer.read()):
        if not isinstance(message, Load):
            raise EngineError(f"expected Load, got {type(message).__name__}")
        yield message


if __name__ == "__main__":
    main()
