"""Disturbances are those of hurried people, and the same each time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.classifier.typos import DISTURBANCES, disturbed, misspelt

PROMPT = "Write a function that returns the largest number of a list, please."


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbance_is_the_same_each_time(name: str) -> None:
    """Training twice gives the same artifact only if its typos are the same."""
    assert DISTURBANCES[name](PROMPT, 3) == DISTURBANCES[name](PROMPT, 3)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbance_changes_the_text(name: str) -> None:
    """Every one leaves a mark, whatever the seed."""
    assert all(DISTURBANCES[name](PROMPT, seed) != PROMPT for seed in range(30))


@pytest.mark.parametrize("name", DISTURBANCES)
def test_another_seed_disturbs_otherwise(name: str) -> None:
    """What is evaluated need not be what was trained on."""
    assert len({DISTURBANCES[name](PROMPT, seed) for seed in range(30)}) >= 2


def test_most_words_stay_as_they_are() -> None:
    """One word in eight is misspelt, so that a person can still read the prompt."""
    text = " ".join(["sandwich"] * 80)
    words = misspelt(text).split(" ")
    assert len(words) == 80
    assert 70 <= words.count("sandwich") < 80


@pytest.mark.parametrize("text", ["", "a b", "1234 5678", "ls -l", "什么"])
def test_short_words_are_left_alone(text: str) -> None:
    """A typo in a short word makes another word of it."""
    assert misspelt(text) == text


@given(st.text(), st.integers(0, 9))
@settings(max_examples=100)
def test_any_text_can_be_disturbed(text: str, seed: int) -> None:
    """Whatever Unicode holds, nothing breaks and little is added."""
    assert len(disturbed(text, seed)) <= 4 * len(text) + 20
