"""The shape of policies/*.toml: which conditions a rule may have, and what each may say.

It reads no file; names of roles and models are checked where models.toml is known.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from modelrouter.config.quantities import Duration
from modelrouter.config.table import Name, Names, Table, Text
from modelrouter.forecast import Standing
from modelrouter.types import UNSURE, Task, WhenFull, WithoutFim

RESERVED_RULES = ("model", "role", "otherwise")
"""What a decision calls its rule when no rule of the file made it."""

IMPLIED: Mapping[Standing, Standing] = {"free": "ready", "busy": "ready"}
"""A model that is free or busy is ready as well."""


def _rule_name(value: str) -> str:
    if value in RESERVED_RULES:
        raise ValueError("this name is taken: traces say it where no rule decided")
    return value


class Choice(Table):
    """The roles or models to use, in order, and how far a request may wander from them.

    `switch_within_seconds`: a conversation that another model of this policy has answered so far
    moves on to the first one here only if that is forecast to start its answer so soon; None moves
    it at any price.
    """

    use: Names
    when_full: WhenFull = "wait"
    switch_within_seconds: Duration | None = Field(default=None, alias="switch_within")


class Rule(Choice):
    """`[[rules]]`: conditions that must all hold, and what to use then.

    Those of one model name a model or a role, which stands for its first usable model. A forecast
    that nobody can make yet holds no `first_token_within` and no `answer_within`.
    """

    name: Annotated[Text, AfterValidator(_rule_name)]
    task: Task | None = None
    field: Text | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    prompt_tokens_over: int | None = Field(default=None, ge=0)
    prompt_tokens_under: int | None = Field(default=None, ge=1)
    turns_over: int | None = Field(default=None, ge=0)
    turns_under: int | None = Field(default=None, ge=1)
    tag: Text | None = None
    header: Mapping[Text, Text] = {}
    state: Mapping[Name, Standing] = {}
    first_token_within: Mapping[Name, Duration] = {}
    answer_within: Mapping[Name, Duration] = {}

    @model_validator(mode="after")
    def _can_hold(self) -> Self:
        if self.confidence is not None and self.field is None:
            raise ValueError('"confidence" needs a "field" to be confident of')
        if self.field == UNSURE and self.confidence is not None:
            raise ValueError(f'"{UNSURE}" has no confidence; that is what it says')
        if not self.model_dump(exclude={"name", *Choice.model_fields}, exclude_defaults=True):
            raise ValueError("no condition; what always holds belongs in [otherwise]")
        _check_range("length", self.prompt_tokens_over, self.prompt_tokens_under)
        _check_range("number of turns", self.turns_over, self.turns_under)
        return self

    def includes(self, other: "Rule") -> bool:
        """True where this rule holds for every request that `other` holds for."""
        return (
            self.task in (None, other.task)
            and self.field in (None, other.field)
            and self.tag in (None, other.tag)
            and (self.confidence or 0) <= (other.confidence or 0)
            and _lower(self.prompt_tokens_over) <= _lower(other.prompt_tokens_over)
            and _upper(self.prompt_tokens_under) >= _upper(other.prompt_tokens_under)
            and _lower(self.turns_over) <= _lower(other.turns_over)
            and _upper(self.turns_under) >= _upper(other.turns_under)
            and self.header.items() <= other.header.items()
            and all(_implies(other.state.get(name), is_) for name, is_ in self.state.items())
            and _is_looser(self.first_token_within, other.first_token_within)
            and _is_looser(self.answer_within, other.answer_within)
        )


class Otherwise(Choice):
    """`[otherwise]`: what to use where no rule holds."""

    when_full: WhenFull


class PolicyFile(Table):
    """A file of policies/: what it is for in prose, its rules in order, and the rest.

    A prediction less sure than `confidence` is of the field "unsure" for all rules. `without_fim`:
    whether a model that was not trained to fill in goes on with what stands before the cursor, or
    is passed over; also where the request names it.
    """

    description: Text
    confidence: float = Field(default=0, ge=0, le=1)
    without_fim: WithoutFim = "continue"
    rules: Annotated[tuple[Rule, ...], Field(strict=False)] = ()
    otherwise: Otherwise


def _check_range(what: str, over: int | None, under: int | None) -> None:
    if over is not None and under is not None and under - over < 2:
        raise ValueError(f"never holds: no {what} is over {over} and under {under}")


def _lower(over: int | None) -> int:
    return over or 0


def _upper(under: int | None) -> float:
    return math.inf if under is None else under


def _implies(given: Standing | None, asked: Standing) -> bool:
    return given is not None and asked in (given, IMPLIED.get(given))


def _is_looser(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    return all(right.get(name, math.inf) <= seconds for name, seconds in left.items())
