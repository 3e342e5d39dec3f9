"""How fast each model is: what is learned from answers, kept over restarts, and read again.

Pure values and files in a temporary folder.
"""

import json
from pathlib import Path

import pytest

from modelrouter.generation import Done, Timings, Usage
from modelrouter.scheduler.rates import FEWEST_TOKENS, KEPT, MOST_MODELS, Rate, Rates


def done(prompt: int = 100, cached: int = 0, completion: int = 50, seconds: float = 2.0) -> Done:
    """Return an answer's end whose prefill and decode took `seconds` each."""
    timings = Timings(prefill_seconds=seconds, decode_seconds=seconds)
    return Done("stop", Usage(prompt, completion, cached), timings)


def test_nothing_is_known_before_the_first_answer() -> None:
    """None is not zero."""
    rate = Rate()
    assert rate.prefill_tokens_per_second is None
    assert rate.decode_tokens_per_second is None
    assert rate.seconds_an_answer is None
    assert rate.load_seconds is None


def test_the_first_answer_is_believed() -> None:
    """Tokens by seconds, and how long the slot was held."""
    rate = Rate()
    rate.answered(done())
    assert rate.prefill_tokens_per_second == 50
    assert rate.decode_tokens_per_second == 25
    assert rate.seconds_an_answer == 4


def test_tokens_from_the_cache_were_not_computed() -> None:
    """A prompt that began like the last one says nothing of its first tokens' speed."""
    rate = Rate()
    rate.answered(done(prompt=100, cached=90))
    assert rate.prefill_tokens_per_second == 5


def test_too_few_tokens_say_nothing_of_speed() -> None:
    """But the answer held its slot all the same."""
    rate = Rate()
    rate.answered(done(prompt=100, cached=101 - FEWEST_TOKENS, completion=FEWEST_TOKENS - 1))
    assert rate.prefill_tokens_per_second is None
    assert rate.decode_tokens_per_second is None
    assert rate.seconds_an_answer == 4
    rate.answered(done(prompt=FEWEST_TOKENS, completion=FEWEST_TOKENS))
    assert rate.prefill_tokens_per_second == rate.decode_tokens_per_second == FEWEST_TOKENS / 2


def test_the_latest_answers_count_most() -> None:
    """An old figure fades with each new answer, by tokens and seconds, not by averages."""
    rate = Rate()
    rate.answered(done(completion=100, seconds=10))
    rate.answered(done(completion=100, seconds=1))
    expected = (100 * KEPT + 100) / (10 * KEPT + 1)
    assert rate.decode_tokens_per_second == pytest.approx(expected)
    assert rate.seconds_an_answer == pytest.approx((20 * KEPT + 2) / (KEPT + 1))
    for _ in range(50):
        rate.answered(done(completion=100, seconds=1))
    assert rate.decode_tokens_per_second == pytest.approx(100, rel=0.01)


def test_rates_are_kept_over_a_restart(tmp_path: Path) -> None:
    """In a folder that is made for them; each model has its own."""
    file = tmp_path / "state" / "rates.json"
    rates = Rates(file)
    rates.of("a").answered(done())
    rates.of("b").load_seconds = 3.5
    rates.save()
    again = Rates(file)
    assert again.of("a") == rates.of("a")
    assert again.of("b").load_seconds == 3.5
    assert again.of("c") == Rate()
    assert [path.name for path in file.parent.iterdir()] == ["rates.json"]


def test_rates_without_a_file_are_forgotten() -> None:
    """Saving them does nothing."""
    rates = Rates()
    rates.of("a").load_seconds = 1.0
    rates.save()
    assert rates.of("a").load_seconds == 1.0


def test_only_so_many_models_are_kept(tmp_path: Path) -> None:
    """A file that changes its fingerprint again and again does not fill the disk."""
    file = tmp_path / "rates.json"
    rates = Rates(file)
    for number in range(MOST_MODELS + 1):
        rates.of(str(number))
    rates.save()
    kept = json.loads(file.read_text())
    assert len(kept) == MOST_MODELS
    assert "0" not in kept
    assert str(MOST_MODELS) in kept


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "no attribute 'items'"),
        ('{"a": 3}', "no attribute 'keys'"),
        ('{"a": {"prefill_tokens": 1}}', "the file is of another version"),
        ('{"a": {"decode_tokens": "x"}}', "the file is of another version"),
        (None, "a sum is below zero"),
        ("bad type", "not supported between"),
    ],
)
def test_a_damaged_file_counts_for_nothing(
    content: str | None, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning says so, and all is measured anew."""
    file = tmp_path / "rates.json"
    whole = Rates(file)
    whole.of("a").load_seconds = 5.0
    whole.save()
    text = file.read_text()
    changed = {None: text.replace("5.0", "-5.0"), "bad type": text.replace("5.0", '"5"')}
    file.write_text(changed.get(content) or content or "")
    assert Rates(file).of("a") == Rate()
    (warning,) = caplog.messages
    assert warning.startswith(f"{file}: measured speeds cannot be read and are measured anew: ")
    assert why in warning


def test_a_folder_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The program goes on; the figures are lost with it."""
    (tmp_path / "file").write_text("in the way")
    rates = Rates(tmp_path / "file" / "rates.json")
    rates.of("a").load_seconds = 1.0
    rates.save()
    assert caplog.messages[-1].startswith("the speeds measured are not kept: ")


def test_what_was_used_last_is_kept(tmp_path: Path) -> None:
    """A model known for long and used today outlives those that were tried once since."""
    rates = Rates(tmp_path / "rates.json")
    for name in ("old", *(f"tried {n}" for n in range(MOST_MODELS - 1)), "old", "new"):
        rates.of(name).answered(done())
    rates.save()
    kept = Rates(tmp_path / "rates.json")
    assert kept.of("old").decode_tokens_per_second == 25
    assert kept.of("tried 0").decode_tokens_per_second is None
