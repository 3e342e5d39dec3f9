"""What llama.cpp computed in its last pass, read where it lies, and tokens drawn from it."""

from typing import TypeAlias

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from modelrouter.engine.llama import LlamaBackend
from modelrouter.types import Sampling

Logits: TypeAlias = npt.NDArray[np.float32]


def logits(backend: LlamaBackend, row: int = 0) -> Logits:
    """Return a copy of the logits of a row."""
    pointer = lib.llama_get_logits_ith(backend._context, row)
    return np.ctypeslib.as_array(pointer, (backend._vocabulary,)).copy()


def drawn(backend: LlamaBackend, sampling: Sampling, number: int = 20) -> list[int]:
    """Return tokens drawn one after another from the logits of row 0."""
    sampler = backend.sampler(sampling)
    tokens = [sampler.sample(0) for _ in range(number)]
    sampler.close()
    return tokens
