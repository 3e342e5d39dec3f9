"""How llama.cpp draws a token: one sequence's chain of its samplers.

It knows logits and tokens; which passes made them is `llama.py`'s.
"""

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib
import numpy as np

from modelrouter.errors import EngineError
from modelrouter.tokens import TokenBias
from modelrouter.types import Sampling

if TYPE_CHECKING:
    from modelrouter.engine.constraint import Constraint

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""

PENALTY_TOKENS = 64
"""How far back the penalties look: llama.cpp's own default."""


def logits_of(context: Any, row: int) -> Any:
    """Return the pointer to a row's logits; EngineError where nobody asked for them."""
    # llama.cpp counts a negative row from the end.
    logits = lib.llama_get_logits_ith(context, row) if row >= 0 else None
    if not logits:
        raise EngineError(f"no logits were asked for row {row}")
    return logits


class ChainSampler:
    """One sequence's llama.cpp sampler chain."""

    def __init__(
        self,
        context: Any,
        vocabulary: int,
        sampling: Sampling,
        constraint: "Constraint | None" = None,
    ) -> None:
        """Make the chain for rows of `context`, whose vocabulary has so many tokens; it draws only
        what the constraint allows.
        """
        self._context = context
        self._vocabulary = vocabulary
        self._constraint = constraint
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for link in _links(vocabulary, sampling):
            lib.llama_sampler_chain_add(self._chain, link)

    def sample(self, row: int) -> int:
        """Return a token drawn from the logits of `row`; remember it for the penalties."""
        logits = logits_of(self._context, row)
        if self._constraint is not None:
            return self._sample_allowed(logits, self._constraint)
        return int(lib.llama_sampler_sample(self._chain, self._context, row))

    def _sample_allowed(self, logits: Any, constraint: "Constraint") -> int:
        """Put only the allowed tokens through the chain: its cuts and chances are theirs alone."""
        allowed = constraint.allowed()
        candidates = np.zeros(len(allowed), CANDIDATE)
        candidates["id"] = allowed
        candidates["logit"] = np.ctypeslib.as_array(logits, (self._vocabulary,))[allowed]
        pointer = candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(pointer, len(allowed), -1, False)
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        lib.llama_sampler_accept(self._chain, token)
        constraint.accept(token)
        return token

    def close(self) -> None:
        """Give its memory back. Twice is fine."""
        if self._chain is not None:
            lib.llama_sampler_free(self._chain)
        self._chain = None


def _links(vocabulary: int, sampling: Sampling) -> list[Any]:
    """Return the chain's samplers; those that would change nothing are left out."""
    links = [_bias(vocabulary, sampling.logit_bias)] if sampling.logit_bias else []
    repeat, frequency = sampling.repeat_penalty, sampling.frequency_penalty
    presence = sampling.presence_penalty
    if (repeat, frequency, presence) != (1, 0, 0):
        links.append(
            lib.llama_sampler_init_penalties(
                vocabulary, PENALTY_TOKENS, repeat, frequency, presence
            )
        )
    if sampling.temperature == 0:
        return [*links, lib.llama_sampler_init_greedy()]
    if sampling.top_k:
        links.append(lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        links.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        links.append(lib.llama_sampler_init_min_p(sampling.min_p, 1))
    seed = lib.LLAMA_DEFAULT_SEED if sampling.seed is None else sampling.seed
    return [
        *links,
        lib.llama_sampler_init_temp(sampling.temperature),
        lib.llama_sampler_init_dist(seed),
    ]


def _bias(vocabulary: int, biases: Sequence[TokenBias]) -> Any:
    array = (lib.llama_logit_bias * len(biases))(*((each.token, each.bias) for each in biases))
    return lib.llama_sampler_init_logit_bias(vocabulary, len(biases), array)
