"""How an answer is drawn, as all dialects spell it: the fields that a body may set.

Their ranges are those of `types.Sampling`; what is left out is the model's own default.
"""

from modelrouter.server.bodies import Body
from modelrouter.types import SamplingOverrides


class SamplingFields(Body):
    """The part of a body, or of its options, that is about sampling."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None

    def overrides(self) -> SamplingOverrides:
        """Return what is set; a seed below 0 asks for a fresh one, also where the model has one."""
        given = self.model_dump(include=set(SamplingFields.model_fields), exclude_none=True)
        if given.get("seed", 0) < 0:
            given["seed"] = None
        return SamplingOverrides(**given)  # type: ignore[typeddict-item,no-any-return]
