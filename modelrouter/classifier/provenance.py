"""Says where a classifier comes from: its data, its libraries, its thresholds, its date.

It knows no weights. Equal data on equal libraries give equal facts: no clock is asked.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from modelrouter.classifier.dataset import Source
from modelrouter.classifier.model import EARLIER_WEIGHTS, SHORT_CHARACTERS, UNSURE
from modelrouter.classifier.scoring import Report
from modelrouter.errors import ConfigError

LIBRARIES: Final = ("matplotlib", "numpy", "scikit-learn", "scipy")
DATE_VARIABLE: Final = "SOURCE_DATE_EPOCH"


def data_date(files: Sequence[Path]) -> str:
    """Return the date of the data, "2026-01-31", in UTC.

    It is that of SOURCE_DATE_EPOCH (seconds since 1970; reproducible-builds.org), which `make
    classifier` sets to the last commit that changed the prompts. Without one, or with an empty
    one, it is the day on which the newest of `files` was changed. Either way training again on
    the same files gives the same bytes, and the day of the training stands nowhere. A value that
    is no such number is a ConfigError.
    """
    said = os.environ.get(DATE_VARIABLE)
    if not said:
        return _day(max(file.stat().st_mtime for file in files))
    try:
        return _day(int(said))
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"{DATE_VARIABLE} is {said!r:.40}, expected seconds since 1970",
            hint=f"unset {DATE_VARIABLE}: the date is then that of the newest file",
        ) from error


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def origin(
    sources: Sequence[Source], date: str, temperature: float, report: Report
) -> dict[str, object]:
    """Return what the manifest says of the origin of a classifier, as plain values.

    `thresholds` are those by which a short turn is judged with the turns before it
    (`classifier/model.py`); what a confidence is worth stands in the report, under `held_out`.
    """
    return {
        "date": date,
        "libraries": {name: version(name) for name in LIBRARIES},
        "sources": [
            {"file": source.name, "sha256": source.sha256, "rows": len(source.rows)}
            for source in sources
        ],
        "temperature": temperature,
        "thresholds": {
            "short_characters": SHORT_CHARACTERS,
            "unsure_below": UNSURE,
            "earlier_weights": list(EARLIER_WEIGHTS),
        },
        "held_out": asdict(report),
    }
