"""What a worker's exit code means, in words.

It knows no process and what one did before.
"""

import signal


def describe_end(code: int) -> str:
    """Say how a process ended; `code` below 0 is a signal's number, as subprocess has it."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {known.value: known.name for known in signal.Signals}
    return f"was ended by signal {-code} ({names.get(-code, 'real-time')})"


def advice(code: int) -> str | None:
    """Return what would help, where the way it ended tells."""
    if code == -signal.SIGKILL:
        return "probably out of memory: the kernel ends the largest; lower `context` or `slots`"
    if code == -signal.SIGBUS:
        return "the model file was cut short or its disk failed while it was mapped"
    return None
