"""What a model is asked for to take its time, and what is said of the times it took."""

import math
from collections.abc import Sequence

from modelrouter.types import Sampling

ENDLESS = Sampling(temperature=0, frequency_penalty=-2, presence_penalty=-2)
"""What was said once becomes likelier still: one word for ever."""


def p99(ordered: Sequence[float]) -> float:
    """Return the 99th percentile of sorted values, one of them."""
    return ordered[math.ceil(0.99 * len(ordered)) - 1]
