"""A small mix of everything at once, workers killed in it: `make soak` has the long one."""

from collections import Counter

import pytest
import soak_mix
from soak_box import LIGHT, build
from soak_script import KINDS, script

REQUESTS = 60
CLIENTS = 6
KILLS = 3
SEED = 5
"""Sixty requests are few: this is the first script that has all there is (the first test)."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> soak_mix.Outcome:
    """Four models in room for two or three, six clients, sixty requests, kills in each phase."""
    box = build(tmp_path_factory.mktemp("mix"), LIGHT)
    asks = script(box.models, REQUESTS, SEED)
    return soak_mix.run(box, asks, clients=CLIENTS, kills=KILLS, seed=SEED)


def test_the_script_has_everything(outcome: soak_mix.Outcome) -> None:
    """Requests of every kind, and one question with a seed three times: a kill may cost one."""
    assert {ask.kind for ask in outcome.asks} == set(KINDS)
    assert max(Counter(ask.seeded for ask in outcome.asks if ask.seeded).values()) >= 3


def test_no_request_is_lost(outcome: soak_mix.Outcome) -> None:
    """Each request ends exactly once: whole, or with an error that it may have."""
    assert not outcome.lost
    assert sorted(end.ask.number for end in outcome.ends) == list(range(REQUESTS))
    assert outcome.kills.total() > 0
    assert not outcome.odd_lines


def test_the_budget_is_never_exceeded(outcome: soak_mix.Outcome) -> None:
    """No look at all workers at once finds more than the budget, of real memory or of charges."""
    assert outcome.peaks.samples > 0
    assert not outcome.peaks.violations
    assert 0 < outcome.most_charged_bytes <= outcome.box.budget_bytes
    for name, charge in outcome.box.charges.items():
        assert outcome.most[name].anonymous_bytes <= charge, name


def test_a_question_with_a_seed_has_one_answer(outcome: soak_mix.Outcome) -> None:
    """Asked again, in other company, in another slot, of another worker: the same text."""
    assert outcome.seeded_texts
    assert all(len(set(said)) == 1 for said in outcome.seeded_texts)


def test_nothing_is_kept_by_who_left_or_died(outcome: soak_mix.Outcome) -> None:
    """Afterwards all slots are free, nobody waits, and the server ends without a worker left."""
    assert not outcome.still_busy
    assert not outcome.left_behind
