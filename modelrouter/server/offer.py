"""The offer: what a request's `model` may say, and what is true of each of these names.

It knows the catalogue, not the dialects that list it.
"""

from dataclasses import dataclass
from typing import Literal

from modelrouter.config import RESERVED_NAME
from modelrouter.errors import unknown_model
from modelrouter.forecast import ModelState
from modelrouter.registry import Catalogue, ModelSpec
from modelrouter.scheduler.snapshot import Status


@dataclass(frozen=True, slots=True)
class Offered:
    """One name, and the usable models that may answer to it, in the policy's order."""

    name: str
    specs: tuple[ModelSpec, ...]

    @property
    def is_model(self) -> bool:
        """True where the name is a model's own, not a role's or `auto`."""
        return [spec.name for spec in self.specs] == [self.name]

    @property
    def largest(self) -> ModelSpec | None:
        """The model with the most context: the router finds it for a prompt that needs it."""
        return max(self.specs, key=lambda spec: spec.context_tokens, default=None)

    def loaded(self, status: Status) -> Literal["loaded", "loading", "unloaded"]:
        """Return how near an answer is, in llama.cpp's words: of several models the nearest is."""
        states = {status.of(spec.name).state for spec in self.specs}
        if ModelState.READY in states:
            return "loaded"
        return "loading" if ModelState.LOADING in states else "unloaded"


def offered(catalogue: Catalogue) -> list[Offered]:
    """Return all names: `auto`, the roles, the usable models."""
    specs = catalogue.specs
    roles = [
        Offered(role, tuple(specs[name] for name in models if name in specs))
        for role, models in catalogue.roles.items()
    ]
    models = [Offered(name, (spec,)) for name, spec in specs.items()]
    return [Offered(RESERVED_NAME, tuple(specs.values())), *roles, *models]


def find(catalogue: Catalogue, name: str) -> Offered | None:
    """Return what is offered by this name, None where nothing is."""
    return next((each for each in offered(catalogue) if each.name == name), None)


def named(catalogue: Catalogue, name: str) -> Offered:
    """Return what is offered by this name; UnknownModel where nothing is."""
    if (found := find(catalogue, name)) is None:
        raise unknown_model(name, [each.name for each in offered(catalogue)])
    return found
