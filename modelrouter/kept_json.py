"""A small JSON file that this user keeps: written whole or not at all, and never trusted.

It does not know what is in it: whoever reads says what is sound, and what becomes of an error.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 2**18
"""A longer file is none of ours."""


def read(path: Path) -> Any:
    """Return what the file holds; OSError where it cannot be read, ValueError where it is no JSON
    of ours.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, and {MOST_BYTES:,} are the most")
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it nests too deep") from None


def write(path: Path, value: Any) -> None:
    """Put the value in the place of what is there, in a folder for this user alone.

    OSError where nothing can be written (a full disk, no home folder); then all is as before.
    """
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(json.dumps(value))
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
