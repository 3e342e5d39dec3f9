"""Footprints found before, on disk: one small JSON file that anything may happen to.

What is damaged is as good as absent and is written anew. It does not know how a footprint is found
or what its key is made of.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path

from modelrouter import kept_json
from modelrouter.memory.footprint import Footprint

log = logging.getLogger(__name__)

MOST_FOOTPRINTS = 256
"""The newest are kept; a forgotten one is found again in a fraction of a second."""


def read(path: Path) -> dict[str, Footprint]:
    """Return the footprints by their keys, the oldest first; none where the file is not sound."""
    try:
        return {key: _footprint(value) for key, value in kept_json.read(path).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(path: Path, footprints: Mapping[str, Footprint]) -> None:
    """Keep the footprints in place of those there; where nothing can be written the work goes on
    without.
    """
    newest = islice(footprints.items(), max(0, len(footprints) - MOST_FOOTPRINTS), None)
    try:
        kept_json.write(path, {key: asdict(footprint) for key, footprint in newest})
    except OSError as error:
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
