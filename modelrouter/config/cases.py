"""The shape of a policy's cases: prompts, the state of the box, and what should come of them.

It reads no file and asks no policy.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from modelrouter.config.quantities import Duration
from modelrouter.config.table import Name, Names, Table, Text
from modelrouter.forecast import Standing
from modelrouter.types import Task


class Case(Table):
    """`[[cases]]`: one request, how the models stand, and what is expected.

    `prompt` is a conversation's only turn; `turns` are the user's and the assistant's in their
    order. `ask` is the model or role that the request names. `state`, `first_token` and `answer`
    say how models stand and what is forecast of them; a model that none of them names is unloaded,
    and nothing is known of it. Expected are `rule`, `model` (the first), `models` (all, in order).
    """

    prompt: Text | None = None
    turns: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    task: Task = "chat"
    ask: Text | None = None
    tags: Annotated[frozenset[Text], Field(strict=False)] = frozenset()
    header: Mapping[Text, Text] = {}
    max_tokens: int | None = Field(default=None, ge=1)
    answered_by: Name | None = None
    state: Mapping[Name, Standing] = {}
    first_token: Mapping[Name, Duration] = {}
    answer: Mapping[Name, Duration] = {}

    rule: Text | None = None
    model: Name | None = None
    models: Names | None = None

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        if (self.prompt is None) == (not self.turns):
            raise ValueError('expected "prompt" or "turns", one of them')
        if len(self.turns) % 2 == 0 and self.turns:
            raise ValueError("the last turn must be the user's: give an odd number of them")
        if not (self.rule or self.model or self.models):
            raise ValueError('nothing is expected: give "rule", "model" or "models"')
        return self


class CasesFile(Table):
    """A file of cases. `policy` None takes the one in use; `roles` stand in for models.toml's."""

    policy: Name | None = None
    roles: Mapping[Name, Names] = {}
    cases: Annotated[tuple[Case, ...], Field(min_length=1, strict=False)]
