"""The chances that llama.cpp's model gives its tokens, and the biases that a request puts on them.

What else only llama.cpp can break is `test_llama.py`'s.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from last_pass import drawn, logits

from modelrouter.engine.backend import Row
from modelrouter.engine.llama import LlamaBackend
from modelrouter.engine.protocol import Load
from modelrouter.errors import EngineError, RequestError
from modelrouter.memory.kv import StoredTypes
from modelrouter.tokens import TokenBias
from modelrouter.types import Sampling


@pytest.fixture
def thinking(tiny_gguf: Path) -> Iterator[LlamaBackend]:
    """The tiny model after one pass of one row, with logits to draw from."""
    backend = LlamaBackend(
        Load(str(tiny_gguf), True, 256, 1, 32, StoredTypes("q8_0", "f16"), 1), lambda _: None
    )
    assert backend.decode([Row(0, 0, 65, wants_logits=True)])
    yield backend
    backend.close()


def test_logprobs_are_the_models_own(thinking: LlamaBackend) -> None:
    """They are the logarithms of the softmax of the raw logits, the likeliest first."""
    raw = logits(thinking).astype(np.float64)
    expected = raw - np.log(np.exp(raw - raw.max()).sum()) - raw.max()
    told = thinking.logprobs(0, 65, 20)
    assert told.drawn.logprob == pytest.approx(expected[65])
    assert [chance.token for chance in told.top] == np.argsort(-raw)[:20].tolist()
    assert [chance.logprob for chance in told.top] == pytest.approx(sorted(expected)[:-21:-1])
    assert bytes(told.drawn.bytes) == thinking.bytes_of(65)


def test_no_top_logprobs(thinking: LlamaBackend) -> None:
    """None may be asked for: only the drawn token's is told."""
    assert thinking.logprobs(0, 65, 0).top == ()


def test_a_row_without_logits_has_no_logprobs(thinking: LlamaBackend) -> None:
    """Nothing is read where llama.cpp wrote nothing."""
    with pytest.raises(EngineError):
        thinking.logprobs(1, 65, 1)


def test_a_bias_bans_and_forces(thinking: LlamaBackend) -> None:
    """-100 keeps the likeliest token out; 100 makes any other the only one."""
    likeliest = int(logits(thinking).argmax())
    banned = Sampling(temperature=0, logit_bias=(TokenBias(likeliest, -100),))
    assert likeliest not in drawn(thinking, banned)
    forced = Sampling(temperature=5, top_k=0, top_p=1, min_p=0, logit_bias=(TokenBias(77, 100),))
    assert drawn(thinking, forced) == [77] * 20


def test_a_bias_of_no_token(thinking: LlamaBackend) -> None:
    """A number that the vocabulary does not have is refused with the vocabulary's size."""
    with pytest.raises(RequestError) as caught:
        thinking.sampler(Sampling(logit_bias=(TokenBias(10**6, 1),)))
    assert caught.value.message == (
        f"logit_bias names token 1,000,000; the model's vocabulary has {thinking._vocabulary:,}"
    )
