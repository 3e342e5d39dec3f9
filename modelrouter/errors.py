"""Every error a person can meet, ordered by who must act.

Nothing here knows who raises what; the class alone decides the exit code and the HTTP status.

ModelRouterError
├── ConfigError            the operator edits a file              exit 2   500
│   ├── BadModelFile           missing, truncated, not a GGUF
│   └── NoModel                none of a rule's models is installed        503
├── RequestError           the caller changes the request         exit 2   400
│   ├── UnknownModel           did you mean                                404
│   ├── PromptTooLong          9,120 tokens > 8,192                        400
│   └── NotOffered             this server, or this model, has no such     501
├── CapacityError          nobody is wrong; later                 exit 75  503
│   ├── QueueFull              the waiting line is full                    429
│   ├── SlotsBusy              asked not to wait, and had to               503
│   ├── NeverFits              waiting will not help          exit 69      507
│   └── DeadlineExceeded                                                   504
├── EngineError            the model's process failed             exit 70  502
│   ├── LoadFailed             with its last words
│   └── WorkerDied             with the signal and what it means
└── NoServer               somebody starts one                    exit 69  503
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from modelrouter.trace import Trace

MEND_MODELS = "mend what is named here, or give models.toml a model that is on this machine"
"""What helps where no model is left."""


class ModelRouterError(Exception):
    """What happened, with the numbers; `hint` says what would help."""

    code: ClassVar[str]
    exit_code: ClassVar[int]
    http_status: ClassVar[int]

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.trace: Trace | None = None
        """The steps up to the failure, from the router: a refused request explains itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file. `line` is 1-based; None where no line is to blame."""

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(ModelRouterError):
    """The operator edits a file. Carries all problems at once, like a compiler."""

    code = "config_error"
    exit_code = 2
    http_status = 500

    def __init__(
        self, message: str, *, problems: Sequence[Problem] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class BadModelFile(ConfigError):
    """A model file is missing, truncated, or not what its name says."""

    code = "bad_model_file"


class NoModel(ConfigError):
    """A rule was found, but none of the models it names is installed."""

    code = "no_model"
    http_status = 503


class RequestError(ModelRouterError):
    """The caller changes the request."""

    code = "bad_request"
    exit_code = 2
    http_status = 400


class UnknownModel(RequestError):
    """No model or role of this name; the nearest names are the hint."""

    code = "unknown_model"
    http_status = 404


class PromptTooLong(RequestError):
    """The prompt's tokens and one for the answer do not fit the model's context."""

    code = "prompt_too_long"


class NotOffered(RequestError):
    """A route that clients know, and that this server, or the model named, has nothing behind."""

    code = "not_offered"
    http_status = 501


class CapacityError(ModelRouterError):
    """Nobody is wrong; the machine is busy or too small just now."""

    code = "no_capacity"
    exit_code = 75
    http_status = 503


class QueueFull(CapacityError):
    """As many requests of its class wait for this model as may."""

    code = "queue_full"
    http_status = 429


class SlotsBusy(CapacityError):
    """The policy said not to wait for this model, and there was something to wait for."""

    code = "slots_busy"


class NeverFits(CapacityError):
    """The model needs more than the budget can ever give: waiting will not help."""

    code = "never_fits"
    exit_code = 69
    http_status = 507


class DeadlineExceeded(CapacityError):
    """The request's own time limit passed before its answer was whole."""

    code = "deadline_exceeded"
    http_status = 504


class EngineError(ModelRouterError):
    """The model's process failed."""

    code = "engine_failed"
    exit_code = 70
    http_status = 502


class LoadFailed(EngineError):
    """The worker could not load the model; its last words are in the message."""

    code = "load_failed"


class WorkerDied(EngineError):
    """The worker ended in the middle of its work."""

    code = "worker_died"


class NoServer(ModelRouterError):
    """No server runs that could be asked what it does."""

    code = "no_server"
    exit_code = 69
    http_status = 503


def all_errors(root: type[ModelRouterError] = ModelRouterError) -> list[type[ModelRouterError]]:
    """Return every class of the tree below `root`, depth first."""
    return [c for child in root.__subclasses__() for c in (child, *all_errors(child))]


def error_of(code: str, message: str, hint: str | None) -> ModelRouterError:
    """Return the error that crossed a process boundary as these three words."""
    kinds = {kind.code: kind for kind in all_errors()}
    return kinds.get(code, EngineError)(message, hint=hint)


def unusable(model: str, reason: str) -> NoModel:
    """Return the refusal of a model of models.toml that is not there, or whose file is not one."""
    return NoModel(f'the model "{model}" cannot be used: {reason}', hint=MEND_MODELS)


def unknown_model(name: str, known: Sequence[str]) -> UnknownModel:
    """Return the refusal of a name that is none of the known."""
    return UnknownModel(
        f'no model or role "{name}"; there are {", ".join(known)}', hint=did_you_mean(name, known)
    )


def did_you_mean(name: str, known: Sequence[str]) -> str | None:
    """Return 'did you mean "x"?' for the nearest known name, or None where none is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None
