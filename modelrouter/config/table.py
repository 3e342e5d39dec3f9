"""What all tables of a configuration share: strictness, texts, names and lists of names.

It knows no table in particular.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RESERVED_NAME = "auto"
"""What a request says in place of a model to have the policy choose; never the name of one."""


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:/-]+", value):
        raise ValueError("a name is made of letters, digits and . _ : / -")
    if value == RESERVED_NAME:
        raise ValueError("this name is taken: it asks the policy to choose")
    return value


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("the list is empty; it needs at least one name")
    if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise ValueError(f"named more than once: {', '.join(twice)}")
    return values


Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, AfterValidator(_name)]
# strict pydantic takes no list for a tuple; what is in the list stays strict
Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_each_once)]


class Table(BaseModel):
    """What all tables share: frozen, no unknown keys, no value coerced into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
