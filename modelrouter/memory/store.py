"""Footprints found before, on disk: one small JSON file that anything may happen to.

What is damaged is as good as absent and is written anew. It does not know how a footprint is found
or what its key is made of.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path

from modelrouter.memory.footprint import Footprint

log = logging.getLogger(__name__)

MOST_FOOTPRINTS = 256
"""The newest are kept; a forgotten one is found again in a fraction of a second."""

MOST_BYTES = 1024 * MOST_FOOTPRINTS
"""A longer file is not ours: one footprint takes 300 bytes."""


def read(path: Path) -> dict[str, Footprint]:
    """Return the footprints by their keys, the oldest first; none where the file is not sound."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        found = json.loads(path.read_bytes())
        return {key: _footprint(value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def write(path: Path, footprints: Mapping[str, Footprint]) -> None:
    """Keep the footprints in place of those there, for this user alone; all of them or none.

    Where nothing can be written (a full disk, no home folder) the work goes on without.
    """
    newest = islice(footprints.items(), max(0, len(footprints) - MOST_FOOTPRINTS), None)
    text = json.dumps({key: asdict(footprint) for key, footprint in newest})
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        log.info("footprints are not kept: %s", error)


def _footprint(value: dict[str, object]) -> Footprint:
    """Return what `asdict` made of a footprint; ValueError where it is anything else."""
    names = {field.name for field in fields(Footprint)}
    sizes = {name: size for name, size in value.items() if name != "origin"}
    if value.keys() != names or value["origin"] != "llama.cpp":
        raise ValueError("not a footprint that llama.cpp told")
    if not all(type(size) is int and size >= 0 for size in sizes.values()):
        raise ValueError("a size is not a number of bytes")
    return Footprint(**sizes, origin="llama.cpp")  # type: ignore[arg-type]
