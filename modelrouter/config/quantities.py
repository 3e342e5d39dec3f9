"""Sizes, shares and durations as a person writes them: "48GiB", "75%", "2m".

It knows no table; each writes with a unit, so that no number can be taken for another.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import PlainValidator

UNIT_BYTES: Mapping[str, int] = {
    "B": 1,
    **{f"{prefix}B": 10 ** (3 * power) for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGT", 1)},
}
"""The units of a size after IEC 80000-13: GB is 1,000,000,000 bytes, GiB is 1,073,741,824."""

UNIT_SECONDS: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Percent:
    """A share of the machine's memory, as `ram = "75%"` writes it."""

    value: float

    def of(self, total_bytes: int) -> int:
        """Return this share of `total_bytes`, in whole bytes."""
        return int(total_bytes * self.value / 100)


def _size(value: object) -> int:
    written = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", str(value))
    if not isinstance(value, str) or not written or written[2] not in UNIT_BYTES:
        raise ValueError('expected a size like "48GiB"')
    return int(Decimal(written[1]) * UNIT_BYTES[written[2]])


def _positive_size(value: object) -> int:
    if (size_bytes := _size(value)) == 0:
        raise ValueError("must be more than nothing")
    return size_bytes


def _ram(value: object) -> int | Percent:
    if not isinstance(value, str) or not value.endswith("%"):
        return _positive_size(value)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?%", value) or not 0 < float(value[:-1]) <= 100:
        raise ValueError('expected a share above "0%" and up to "100%"')
    return Percent(float(value[:-1]))


def _duration(value: object) -> float:
    written = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h)", str(value))
    if not isinstance(value, str) or not written:
        raise ValueError('expected a duration like "30s" (ms, s, m, h)')
    return float(Decimal(written[1])) * UNIT_SECONDS[written[2]]


Size = Annotated[int, PlainValidator(_size)]
PositiveSize = Annotated[int, PlainValidator(_positive_size)]
Ram = Annotated[int | Percent, PlainValidator(_ram)]
Duration = Annotated[float, PlainValidator(_duration)]
