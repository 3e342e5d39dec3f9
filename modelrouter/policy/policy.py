"""The policy: the first rule that holds, roles opened up, missing models passed over, steadiness.

It asks `conditions.py` whether a rule holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from modelrouter.config import RESERVED_NAME, Choice, PolicyFile
from modelrouter.errors import MEND_MODELS, NoModel, unknown_model, unusable
from modelrouter.forecast import Forecast
from modelrouter.policy.conditions import Situation, holds
from modelrouter.types import Candidate, Decision, Prediction, Request, Skipped, WhenFull


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
        forecast: Forecast,
        answered_by: str | None = None,
    ) -> Decision:
        """Return the candidates that `request` names itself, else those of the first rule to hold.

        `answered_by` is the model that gave the conversation's earlier answers, None where it is
        new or nobody knows. Raises UnknownModel for a name that is neither model nor role, NoModel
        where none of the models in question can be used.
        """
        if request.model is not None and request.model != RESERVED_NAME:
            return self._named(request.model)
        situation = Situation(request, prediction, self._seen(forecast), self._file.confidence)
        rule = next((rule for rule in self._file.rules if holds(rule, situation)), None)
        choice = self._file.otherwise if rule is None else rule
        name = "otherwise" if rule is None else rule.name
        decision = self._decision(name, choice.use, choice.when_full)
        return self._steadied(decision, choice, situation, answered_by)

    def _seen(self, forecast: Forecast) -> Forecast:
        """Return the forecasts by model and by role, without the models that cannot be used."""
        usable = {name: seen for name, seen in forecast.items() if self._usable.get(name) is None}
        firsts = {
            role: next((usable[model] for model in models if model in usable), None)
            for role, models in self._roles.items()
        }
        return usable | {role: seen for role, seen in firsts.items() if seen is not None}

    def _steadied(
        self, decision: Decision, choice: Choice, situation: Situation, answered_by: str | None
    ) -> Decision:
        """Keep a conversation with its model where the move would take longer than is allowed.

        The new model would have to read all of the conversation first; the old one has read it. It
        stays only with a model that this policy names somewhere.
        """
        first, most = decision.candidates[0].model, choice.switch_within_seconds
        if most is None or answered_by in (None, first) or answered_by not in self._models:
            return decision
        seen = situation.forecasts.get(first)
        tokens = situation.request.prompt_tokens
        seconds = None if seen is None else seen.first_token_seconds(tokens)
        if seconds is not None and seconds <= most:
            return decision
        kept = [c for c in decision.candidates if c.model == answered_by]
        others = (c for c in decision.candidates if c.model != answered_by)
        wait = "an unknown time" if seconds is None else f"{seconds:.0f} s"
        return replace(
            decision,
            candidates=(*(kept or [Candidate(answered_by, None)]), *others),
            stays=f"{first} would need {wait} to begin, and {most:g} s are allowed for a move",
        )

    @cached_property
    def _models(self) -> frozenset[str]:
        """The usable models that some rule of this policy can lead to."""
        choices = (*self._file.rules, self._file.otherwise)
        named = (c.model for choice in choices for c in self._candidates(choice.use))
        return frozenset(model for model in named if self._usable[model] is None)

    def _named(self, name: str) -> Decision:
        if name in self._usable:
            return self._decision("model", [name], "wait")
        if name in self._roles:
            return self._decision("role", [name], "wait")
        raise unknown_model(name, [*self._usable, *self._roles, RESERVED_NAME])

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
        return Decision(
            self.name,
            rule,
            tuple(candidates),
            when_full,
            tuple(skipped),
            without_fim=self._file.without_fim,
        )

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
            return unusable(use[0], skipped[0].reason)
        if rule == "role":
            return NoModel(
                f'no model of the role "{use[0]}" can be used: {reasons}', hint=MEND_MODELS
            )
        where = f'policy "{self.name}", rule "{rule}",'
        return NoModel(f"no model of {where} can be used: {reasons}", hint=MEND_MODELS)
