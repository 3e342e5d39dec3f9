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
        """Return what is set."""
        given = self.model_dump(include=set(SamplingFields.model_fields), exclude_none=True)
        return SamplingOverrides(**given)  # type: ignore[typeddict-item,no-any-return]
