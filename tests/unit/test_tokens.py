"""What a request may say of single tokens, and the chances of tokens whose text is held back."""

import pytest

from modelrouter.engine.token_log import TokenLog
from modelrouter.errors import RequestError
from modelrouter.tokens import Chance, TokenBias, TokenLogprobs, biases_of


def test_biases_are_read_in_the_order_of_their_tokens() -> None:
    """However a client writes the object, it is one request for the cache."""
    biases = (TokenBias(2, 1.5), TokenBias(15043, -100))
    assert biases_of({"15043": -100, "2": 1.5}) == biases == biases_of({"2": 1.5, "15043": -100})


@pytest.mark.parametrize(
    ("by_token", "said"),
    [
        ({"5": 101}, "logit_bias of token 5 must be from -100 to 100, got 101"),
        ({"5": float("nan")}, "logit_bias of token 5 must be from -100 to 100, got nan"),
        ({"hello": 1}, 'logit_bias: "hello" is no token\'s number'),
        ({"-1": 1}, 'logit_bias: "-1" is no token\'s number'),
        ({"²": 1}, 'logit_bias: "²" is no token\'s number'),
        ({"": 1}, 'logit_bias: "" is no token\'s number'),
        ({"9" * 5000: 1}, "logit_bias: 99999999999 is no token's number"),
        (
            {str(n): 1 for n in range(1025)},
            "logit_bias names 1,025 tokens; it may name 1,024",
        ),
    ],
)
def test_biases_that_mean_nothing(by_token: dict[str, float], said: str) -> None:
    """Each is refused with its token."""
    with pytest.raises(RequestError) as caught:
        biases_of(by_token)
    assert caught.value.message == said


def test_a_part_of_a_character_has_a_text_too() -> None:
    """The bytes are exact, the text says that it is not."""
    assert Chance(1, (0xC3,), -1.0).text == "\N{REPLACEMENT CHARACTER}"
    assert Chance(1, tuple("é".encode()), -1.0).text == "é"


def test_chances_come_out_with_their_text() -> None:
    """A token of which nothing is shown yet waits; one of which a part is shown does not."""
    tokens = [TokenLogprobs(Chance(n, (65,), 0.0), ()) for n in range(4)]
    log = TokenLog()
    for start, token in zip((0, 2, 2, 5), tokens, strict=True):
        log.add(start, token)
    assert log.release(0) == ()
    assert log.release(2) == (tokens[0],)
    assert log.release(3) == (tokens[1], tokens[2])
    assert log.rest() == (tokens[3],)
    assert log.rest() == ()
