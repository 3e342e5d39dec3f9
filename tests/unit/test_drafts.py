"""What is drafted and how much of it: guesses by earlier tokens, lengths by measured times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.engine.drafts import (
    LENGTHS,
    LONGEST_MATCH,
    MOST_DRAFTED,
    STALE_PASSES,
    Guess,
    PassTimes,
    PromptLookup,
    best_length,
)


def guessed(text: str, most: int = 4) -> str | None:
    """Return what is guessed to come after the text, a letter a token."""
    guess = PromptLookup([ord(letter) for letter in text]).guess(most)
    return None if guess is None else "".join(map(chr, guess.tokens))


def sure(trust: float, length: int = MOST_DRAFTED) -> Guess:
    """Return a guess of so many tokens with this much trust."""
    return Guess([0] * length, 1, trust)


def measured(seconds: dict[int, float]) -> PassTimes:
    """Return times that were measured once for each number of rows."""
    times = PassTimes()
    for rows, taken in seconds.items():
        times.learn(rows, taken)
    return times


# ---- guesses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a", None),
        ("abcdefg", None),
        ("abcdef, abc", "def,"),
        ("abX, abY, ab", "Y, a"),  # the latest place
        ("abcX, bcY, abc", "X, b"),  # the longest match before a later, shorter one
        ("xabab", "abab"),  # what runs past the end goes on with itself
        ("aa", "aaaa"),
    ],
)
def test_a_guess_is_what_came_after_the_same_tokens(text: str, expected: str | None) -> None:
    """The longest match decides, of equals the latest."""
    assert guessed(text) == expected


@given(tokens=st.lists(st.sampled_from([0, 1, 256, 257, 65_536, 2**24]), max_size=40))
def test_tokens_are_looked_up_whole(tokens: list[int]) -> None:
    """Also where the bytes of two tokens look like a third: as a search token by token finds it."""
    found = [
        tokens[at:]
        for length in range(min(LONGEST_MATCH, len(tokens)), 0, -1)
        for at in range(len(tokens) - 1, length - 1, -1)
        if tokens[at - length : at] == tokens[-length:]
    ]
    guess = PromptLookup(tokens).guess(5)
    assert (guess and guess.tokens) == ((found[0] * 5)[:5] if found else None)


@pytest.mark.parametrize("most", [0, -1])
def test_nothing_is_guessed_where_there_is_no_room(most: int) -> None:
    """An answer that may have one more token needs no guess."""
    assert guessed("abab", most) is None


def test_trust_follows_what_comes() -> None:
    """Right guesses raise it and wrong ones lower it, for matches of that length alone."""
    lookup = PromptLookup([1, 2, 3, 1, 2])
    first = lookup.guess(2)
    assert first is not None
    assert (first.tokens, first.match_length) == ([3, 1], 2)
    lookup.learn(first, [3, 1])
    risen = lookup.guess(2)
    assert risen is not None
    assert risen.trust > first.trust
    lookup.learn(first, [9])
    fallen = lookup.guess(2)
    assert fallen is not None
    assert fallen.trust < risen.trust
    lookup.add([7, 1])
    shorter = lookup.guess(2)
    assert shorter is not None
    assert (shorter.match_length, shorter.trust) == (1, first.trust)


def test_a_wrong_token_says_nothing_of_those_behind_it() -> None:
    """They were guessed for another text."""
    one, both = PromptLookup([1, 1]), PromptLookup([1, 1])
    one.learn(Guess([1, 1], LONGEST_MATCH - 1, 0.5), [2])
    both.learn(Guess([1, 1], LONGEST_MATCH - 1, 0.5), [2, 1])
    assert one.guess(1) == both.guess(1)


def test_expected_tokens_are_a_chain() -> None:
    """Each is right only where all before it were."""
    assert sure(0.5).expected(3) == 0.5 + 0.25 + 0.125
    assert sure(0.5, length=1).expected(3) == 0.5
    assert sure(1).expected(15) == 15
    assert sure(0).expected(15) == 0


# ---- lengths ------------------------------------------------------------------------------------


def test_times_between_two_known_ones() -> None:
    """They lie on a line; beyond all that is known the nearest stands."""
    times = measured({2: 1.0, 6: 3.0})
    assert [times.seconds(rows) for rows in (1, 2, 3, 4, 6, 100)] == [1, 1, 1.5, 2, 3, 3]


def test_times_follow_the_box() -> None:
    """A pass of the same size counts more the later it was, and a single one does not decide."""
    times = measured({1: 1.0})
    times.learn(1, 5.0)
    assert 1 < times.seconds(1) < 5
    for _ in range(50):
        times.learn(1, 5.0)
    assert times.seconds(1) == pytest.approx(5)


def test_a_time_that_is_long_ago_is_forgotten() -> None:
    """So what did not pay once is tried again."""
    times = measured({2: 9.0})
    for _ in range(STALE_PASSES):
        times.learn(1, 1.0)
    assert times.most_rows == 1
    assert times.seconds(2) == 1


def test_nothing_rides_before_a_pass_is_known() -> None:
    """The first pass has one row for each answer."""
    assert best_length([sure(1)], MOST_DRAFTED, PassTimes()) == 0


def test_nothing_rides_where_nothing_is_guessed() -> None:
    """Rows that stand in for guesses never pay by themselves."""
    assert best_length([None, None], MOST_DRAFTED, measured({2: 1.0})) == 0


def test_free_rows_are_tried_step_by_step() -> None:
    """Each try at most doubles the rows, until all that may ride does."""
    times, ridden = measured({1: 1.0}), []
    for _ in LENGTHS:
        ridden.append(best_length([sure(0.9)], MOST_DRAFTED, times))
        times.learn(1 + ridden[-1], 1.0)
    assert ridden == list(LENGTHS)


@pytest.mark.parametrize(
    ("trust", "seconds_a_row", "length"),
    [
        (0.9, 1.0, 0),  # rows cost as much as passes: nothing is gained
        (0.4, 0.3, 1),
        (0.7, 0.3, 3),
        (0.9, 0.3, 7),
        (0.9, 0.05, 15),
        (0.0, 0.0, 0),  # of equal ones the shortest
    ],
)
def test_the_length_with_the_fewest_seconds_a_token(
    trust: float, seconds_a_row: float, length: int
) -> None:
    """Measured times and what can be expected decide."""
    times = measured({rows: 1 + (rows - 1) * seconds_a_row for rows in (1, 2, 4, 8, 16)})
    assert best_length([sure(trust)], MOST_DRAFTED, times) == length


def test_all_answers_count() -> None:
    """One that is sure does not pay for many that are not, where rows cost."""
    times = measured({rows: 1 + rows * 0.2 for rows in (1, 2, 4, 8, 16, 32, 64)})
    assert best_length([sure(0.9)], MOST_DRAFTED, times) > 0
    assert best_length([sure(0.9), *[None] * 3], MOST_DRAFTED, times) == 0


def test_no_more_than_may_ride() -> None:
    """The pass, the context and the logits have bounds."""
    times = measured(dict.fromkeys((1, 2, 4, 8, 16), 1.0))
    lengths = {most: best_length([sure(1)], most, times) for most in (0, 1, 2, 3, 14, 15)}
    assert lengths == {0: 0, 1: 1, 2: 1, 3: 3, 14: 7, 15: 15}
