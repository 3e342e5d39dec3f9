"""A trial of a policy: prompts and what should come of them, without a machine.

The classifier and the policy are the real ones; the models need not be there, and how they stand is
what the case says. Nothing is loaded or asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelrouter.classifier import Classifier
from modelrouter.config import Case, CasesFile, ConfigSource, load
from modelrouter.diagnose import read, suggestion, validate
from modelrouter.errors import ConfigError, ModelRouterError, Problem
from modelrouter.forecast import TYPICAL_ANSWER_TOKENS, ModelForecast, ModelState, Standing
from modelrouter.policy import Policy
from modelrouter.trace import Fact
from modelrouter.types import Decision, Message, Prediction, Request

STATES: Mapping[Standing, tuple[ModelState, int]] = {
    "unloaded": (ModelState.UNLOADED, 0),
    "loading": (ModelState.LOADING, 0),
    "ready": (ModelState.READY, 1),
    "free": (ModelState.READY, 1),
    "busy": (ModelState.READY, 0),
    "failed": (ModelState.FAILED, 0),
}
"""A model's state and its free slots where it stands so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case. `complaint` None: as expected."""

    file: str
    line: int | None
    prompt: str
    prediction: Prediction
    rule: str
    models: tuple[str, ...]
    complaint: str | None

    def to_json(self) -> dict[str, Fact]:
        """Return it as plain values."""
        return {
            "file": self.file,
            "line": self.line,
            "prompt": self.prompt,
            "field": self.prediction.field,
            "confidence": round(self.prediction.confidence, 4),
            "rule": self.rule,
            "models": list(self.models),
            "as_expected": self.complaint is None,
            "complaint": self.complaint,
        }


class Trial:
    """A file of cases, read and checked: `outcomes()` runs them."""

    def __init__(self, path: Path, source: ConfigSource, policy: str | None) -> None:
        """Read the cases in `path`; ConfigError has everything that is wrong with them.

        `policy` beats the one that the file names, which beats the one of models.toml.
        """
        self.name = str(path)
        self._document = read(path, self.name)
        file, problems = validate(CasesFile, self._document)
        if file is None or problems:
            raise ConfigError("\n".join(map(str, problems)), problems=problems)
        self._cases = file.cases
        self._classifier = Classifier.load()
        settings = load(source, policy or file.policy, fields=self._classifier.fields)
        self.policy_name = settings.policy_name
        roles = file.roles or settings.models_file.roles
        models = {model for named in roles.values() for model in named}
        self._models = sorted(models if file.roles else settings.models_file.models)
        self._roles = roles
        self._policy = Policy(
            settings.policy_name, settings.policy_file, roles, dict.fromkeys(self._models)
        )
        if problems := list(self._unknown_names()):
            raise ConfigError("\n".join(map(str, problems)), problems=problems)

    def outcomes(self) -> Iterator[Outcome]:
        """Run the cases in their order."""
        for number, case in enumerate(self._cases):
            yield self._outcome(case, self._document.line_of(("cases", number)))

    def _outcome(self, case: Case, line: int | None) -> Outcome:
        request = _request(case)
        prediction = self._classifier.predict(request)
        forecast = {model: _forecast(case, model) for model in self._models}
        try:
            decision = self._policy.decide(request, prediction, forecast, case.answered_by)
            rule, models = decision.rule, tuple(c.model for c in decision.candidates)
            complaint = _complaint(case, decision)
        except ModelRouterError as error:
            rule, models, complaint = "", (), error.message
        prompt = request.messages[-1].content
        return Outcome(self.name, line, prompt, prediction, rule, models, complaint)

    def _unknown_names(self) -> Iterator[Problem]:
        """Yield a problem for every name of a model that nothing here has."""
        document = self._document
        places = [
            *document.each("cases", ..., "model"),
            *document.each("cases", ..., "models", ...),
            *document.each("cases", ..., "answered_by"),
        ]
        for key in ("state", "first_token", "answer"):
            places += [(place, place[-1]) for place, _ in document.each("cases", ..., key, ...)]
        for place, name in places:
            if name not in self._models:
                near = suggestion(str(name), self._models)
                yield document.problem(place, f'no model "{name}"{near}')


def _request(case: Case) -> Request:
    said = case.turns or (case.prompt or "",)
    return Request(
        messages=tuple(
            Message("assistant" if number % 2 else "user", text) for number, text in enumerate(said)
        ),
        task=case.task,
        model=case.ask,
        max_tokens=case.max_tokens,
        tags=case.tags,
        headers={name.lower(): value for name, value in case.header.items()},
    )


def _forecast(case: Case, model: str) -> ModelForecast:
    """Return what the case says of a model, as the scheduler would put it.

    The prompt is read in no time, so that the answer begins exactly when the case says.
    """
    state, free_slots = STATES[case.state.get(model, "unloaded")]
    begun, whole = case.first_token.get(model), case.answer.get(model)
    decode = None
    if whole is not None:
        tokens = case.max_tokens or TYPICAL_ANSWER_TOKENS
        decode = tokens / max(whole - (begun or 0.0), 1e-9)
    is_known = begun is not None or whole is not None
    return ModelForecast(
        state=state,
        fits=True,
        free_slots=free_slots,
        waiting=0,
        load_seconds=0.0 if is_known else None,
        queue_seconds=(begun or 0.0) if is_known else None,
        prefill_tokens_per_second=float("inf") if is_known else None,
        decode_tokens_per_second=decode,
    )


def _complaint(case: Case, decision: Decision) -> str | None:
    """Return what is not as expected, None where all is."""
    models = tuple(candidate.model for candidate in decision.candidates)
    said = []
    if case.rule is not None and case.rule != decision.rule:
        said.append(f'expected rule "{case.rule}", got "{decision.rule}"')
    if case.model is not None and case.model != models[0]:
        said.append(f"expected model {case.model}, got {models[0]}")
    if case.models is not None and case.models != models:
        said.append(f"expected models {', '.join(case.models)}, got {', '.join(models)}")
    return "; ".join(said) or None
