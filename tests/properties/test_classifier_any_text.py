"""Any text in, a prediction out."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelrouter.classifier import Classifier
from modelrouter.classifier.features import BUCKETS, WIDTH, extract
from modelrouter.types import Message, Prediction, Request

CLASSIFIER = Classifier.load()

speakable = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1
).filter(str.strip)


def predict(text: str) -> Prediction:
    """Return the prediction for a chat of one message."""
    return CLASSIFIER.predict(Request((Message("user", text),)))


def check(prediction: Prediction) -> None:
    """Assert what every prediction promises."""
    assert set(prediction.scores) == set(CLASSIFIER.fields)
    assert sum(prediction.scores.values()) == pytest.approx(1)
    assert all(0 <= score <= 1 for score in prediction.scores.values())
    assert prediction.confidence == prediction.scores[prediction.field]
    assert prediction.confidence == max(prediction.scores.values())
    assert len(prediction.features) <= 8
    assert all(feature.text for feature in prediction.features)


@given(speakable)
@example("\u202eright to left\u202c שלום عالم")
@example("👩‍👩‍👧‍👦🏳️‍🌈" * 50)
@example("İİİ ß ﬁ Ǆ")
@example("a\u0301" * 200)
@example("\U0010ffff")
@settings(max_examples=300)
def test_any_text_has_a_prediction(text: str) -> None:
    """Whatever Unicode can say is classified; scores sum to 1 and name the field."""
    check(predict(text))


@pytest.mark.parametrize("character", ["a", "{", "\n.", "字", "🙂", "٣", "\u200f", "0"])
def test_ten_megabytes_of_one_character_have_a_prediction(character: str) -> None:
    """Size does not matter: only a bounded part is read."""
    check(predict(character * (10_000_000 // len(character.encode()))))


@given(speakable)
@settings(max_examples=50)
def test_a_prediction_is_repeatable(text: str) -> None:
    """The classifier keeps no state: the same text gives the same prediction."""
    assert predict(text) == predict(text)


@given(st.text())
@example("\0")
@example("\ud800 alone")
@settings(max_examples=200)
def test_any_str_has_features(text: str) -> None:
    """Feature extraction accepts every str, also what a request would refuse."""
    features = extract(text)
    assert len(features.indices) == len(features.values)
    assert ((features.indices >= 0) & (features.indices < WIDTH)).all()
    assert ((features.values >= 0) & (features.values <= 1)).all()
    assert (features.indices >= BUCKETS).sum() == WIDTH - BUCKETS
