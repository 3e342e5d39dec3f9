"""Rules to a decision: which models a request may go to, in which order, and by which rule.

Pure: no clock, no disk, no machine. It names candidates; it does not know which may run just now.
"""

from collections.abc import Iterator, Mapping, Sequence

from modelrouter.config import RESERVED_NAME, PolicyFile, Rule
from modelrouter.errors import NoModel, UnknownModel, did_you_mean
from modelrouter.types import (
    Candidate,
    Decision,
    Forecast,
    Prediction,
    Request,
    Skipped,
    WhenFull,
)

HINT = "mend what is named here, or give models.toml a model that is on this machine"


class Policy:
    """One file of policies/, applied to the models of this machine."""

    def __init__(
        self,
        name: str,
        file: PolicyFile,
        roles: Mapping[str, Sequence[str]],
        usable: Mapping[str, str | None],
    ) -> None:
        """Take a checked policy file, one whose `use` names are all in `roles` or `usable`.

        `usable` has every model of models.toml: None for one that is installed, for another the
        reason why it cannot be used.
        """
        self.name = name
        self._file = file
        self._roles = roles
        self._usable = usable

    def decide(
        self,
        request: Request,
        prediction: Prediction,
        forecast: Forecast,  # noqa: ARG002 - today's conditions look at the request alone
    ) -> Decision:
        """Return the candidates that `request` names itself, else those of the first rule to hold.

        Raises UnknownModel for a name that is neither model nor role, NoModel where none of the
        models in question can be used.
        """
        if request.model is not None and request.model != RESERVED_NAME:
            return self._named(request.model)
        for rule in self._file.rules:
            if holds(rule, request, prediction):
                return self._decision(rule.name, rule.use, rule.when_full)
        otherwise = self._file.otherwise
        return self._decision("otherwise", otherwise.use, otherwise.when_full)

    def _named(self, name: str) -> Decision:
        if name in self._usable:
            return self._decision("model", [name], "wait")
        if name in self._roles:
            return self._decision("role", [name], "wait")
        known = [*self._usable, *self._roles, RESERVED_NAME]
        raise UnknownModel(
            f'no model or role "{name}"; there are {", ".join(known)}',
            hint=did_you_mean(name, known),
        )

    def _decision(self, rule: str, use: Sequence[str], when_full: WhenFull) -> Decision:
        candidates: list[Candidate] = []
        skipped: list[Skipped] = []
        for candidate in self._candidates(use):
            reason = self._usable[candidate.model]
            if reason is None:
                candidates.append(candidate)
            else:
                skipped.append(Skipped(candidate.model, reason))
        if not candidates:
            raise self._no_model(rule, use, skipped)
        return Decision(self.name, rule, tuple(candidates), when_full, tuple(skipped))

    def _candidates(self, use: Sequence[str]) -> Iterator[Candidate]:
        """Yield each model of `use` once, in order, roles replaced by their models."""
        seen: set[str] = set()
        for name in use:
            role = name if name in self._roles else None
            for model in self._roles.get(name, (name,)):
                if model not in seen:
                    seen.add(model)
                    yield Candidate(model, role)

    def _no_model(self, rule: str, use: Sequence[str], skipped: Sequence[Skipped]) -> NoModel:
        reasons = "; ".join(f"{each.model}: {each.reason}" for each in skipped)
        if rule == "model":
            return NoModel(f'the model "{use[0]}" cannot be used: {skipped[0].reason}', hint=HINT)
        if rule == "role":
            return NoModel(f'no model of the role "{use[0]}" can be used: {reasons}', hint=HINT)
        where = f'policy "{self.name}", rule "{rule}",'
        return NoModel(f"no model of {where} can be used: {reasons}", hint=HINT)


def holds(rule: Rule, request: Request, prediction: Prediction) -> bool:
    """True where all conditions of `rule` hold; prompt lengths count all messages' characters."""
    prompt_chars = sum(len(message.content) for message in request.messages)
    return (
        rule.task in (None, request.task)
        and rule.field in (None, prediction.field)
        and (rule.confidence is None or prediction.confidence >= rule.confidence)
        and (rule.prompt_chars_over is None or prompt_chars > rule.prompt_chars_over)
        and (rule.prompt_chars_under is None or prompt_chars < rule.prompt_chars_under)
    )
