"""The cache key names one answer: whatever shaped the answer shapes the key.

Pure: no cache, no disk.
"""

from dataclasses import fields, replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from modelrouter.cache import answer_key
from modelrouter.generation import Generation, Piece
from modelrouter.tokens import TokenBias
from modelrouter.types import SAMPLING_RANGES, Sampling

texts = st.text(max_size=8)
pieces = st.lists(st.builds(Piece, texts, st.booleans()), min_size=1, max_size=4).map(tuple)
numbers = {
    name: st.integers(*map(int, bounds)) if name in {"top_k", "seed"} else st.floats(*bounds)
    for name, bounds in SAMPLING_RANGES.items()
}
biases = st.dictionaries(st.integers(0, 9), st.floats(-100, 100), max_size=2)
biased = biases.map(lambda by_token: tuple(TokenBias(*each) for each in by_token.items()))
SETTINGS = {**numbers, "seed": st.none() | numbers["seed"], "logit_bias": biased}
samplings = st.builds(Sampling, **SETTINGS)
SHAPING = {
    "identity": texts,
    "pieces": pieces,
    "max_tokens": st.none() | st.integers(0, 10_000),
    "stop": st.lists(texts, max_size=3).map(tuple),
    "sampling": samplings,
    "logprobs": st.none() | st.integers(0, 20),
    "end_ids": st.lists(st.integers(0, 9), max_size=2).map(tuple),
    "indent": st.none() | st.integers(0, 8),
    "grammar": st.none() | texts,
    "spelled": st.lists(texts, max_size=3).map(tuple),
}
keywords = st.fixed_dictionaries(SHAPING)

TIMES = {"prompt_seconds", "answer_seconds"}
"""They are in no key: an answer that they cut is not kept (`job.py`; `test_holes.py` tests it)."""


def key(identity: str, **shaping: Any) -> str:
    """Return the key of what shaped an answer."""
    return answer_key(identity, Generation(**shaping))


def names_of(kind: type[Generation | Sampling]) -> set[str]:
    """Return the names of its fields."""
    return {field.name for field in fields(kind)}


def test_all_that_shapes_an_answer_is_drawn() -> None:
    """A field that is new tomorrow cannot be forgotten here."""
    assert set(SHAPING) == names_of(Generation) - TIMES | {"identity"}
    assert set(SETTINGS) == names_of(Sampling)


@given(keywords, keywords)
def test_equal_keys_mean_equal_everything(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two answers share a key exactly where all that shaped them is the same."""
    assert (key(**one) == key(**other)) == (one == other)


@given(keywords, keywords, st.sampled_from(list(SHAPING)))
def test_one_other_argument_is_another_key(
    one: dict[str, Any], other: dict[str, Any], name: str
) -> None:
    """Model, prompt, length, form, whatever ends the answer: each alone tells two keys apart."""
    assume(one[name] != other[name])
    assert key(**one) != key(**{**one, name: other[name]})


@given(keywords, samplings, st.sampled_from(list(SETTINGS)))
def test_one_other_sampling_setting_is_another_key(
    one: dict[str, Any], other: Sampling, name: str
) -> None:
    """Every field of Sampling is in the key, also those of tomorrow."""
    changed = replace(one["sampling"], **{name: getattr(other, name)})
    assume(changed != one["sampling"])
    assert key(**one) != key(**{**one, "sampling": changed})


@given(keywords, st.data())
def test_what_is_special_and_where_it_is_cut_is_in_the_key(
    one: dict[str, Any], data: st.DataObject
) -> None:
    """The same text in other pieces, or trusted elsewhere, is another prompt."""
    at = data.draw(st.integers(0, len(one["pieces"]) - 1))
    piece = one["pieces"][at]
    cut = data.draw(st.integers(0, len(piece.text)))
    flipped = [Piece(piece.text, not piece.special)]
    halves = [Piece(piece.text[:cut], piece.special), Piece(piece.text[cut:], piece.special)]
    for instead in (flipped, halves):
        changed = (*one["pieces"][:at], *instead, *one["pieces"][at + 1 :])
        assert key(**one) != key(**{**one, "pieces": changed})


@given(keywords)
def test_a_whole_number_is_the_same_number(one: dict[str, Any]) -> None:
    """Temperature 0 and 0.0 ask for the same answer, whichever way a surface reads its numbers."""
    whole = Sampling(temperature=0, top_p=1, min_p=0, repeat_penalty=1)
    as_floats = Sampling(temperature=0.0, top_p=1.0, min_p=0.0, repeat_penalty=1.0)
    assert key(**{**one, "sampling": whole}) == key(**{**one, "sampling": as_floats})


def test_the_key_is_a_plain_name() -> None:
    """64 hex digits, the same in every process and on every day."""
    pieces = (Piece("Hi", special=False),)
    name = key("model", pieces=pieces, sampling=Sampling(temperature=0.0), max_tokens=5)
    assert name == key("model", pieces=pieces, sampling=Sampling(temperature=0), max_tokens=5)
    assert len(name) == 64
    assert set(name) <= set("0123456789abcdef")
