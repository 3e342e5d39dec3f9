"""Says which field a request is from, how surely, and which of its words say so.

It knows nothing of models, rules or training: what to do with a field is the policy's affair.
"""

from pathlib import Path
from typing import Final, Self

import numpy as np

from modelrouter.classifier.artifact import SHIPPED, Artifact, read_artifact, softmax
from modelrouter.classifier.features import BUCKETS, Features, Floats, extract
from modelrouter.classifier.structure import STRUCTURE
from modelrouter.types import Feature, Prediction, Request

CODE: Final = "code"
MOST_FEATURES: Final = 8


class Classifier:
    """A linear model over hashed n-grams and structure; pure, and safe to share between threads."""

    def __init__(self, artifact: Artifact) -> None:
        """Use the fields and weights of `artifact`."""
        self.fields = artifact.fields
        self._weights = artifact.weights
        self._bias = artifact.bias
        self._odds_factor = len(self.fields) / (len(self.fields) - 1)

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Return the classifier in the folder `path`, or the shipped one.

        An artifact that is missing, damaged, of another version or shape is a ConfigError.
        """
        return cls(read_artifact(SHIPPED if path is None else path))

    def predict(self, request: Request) -> Prediction:
        """Return the field of the request, judged by its last user message alone.

        Completions are code by their kind, where the classifier knows a field "code".
        """
        if request.task != "chat" and CODE in self.fields:
            return self._by_kind(request.task)
        features = extract(_last_user_text(request))
        scores = softmax(self._weights[:, features.indices] @ features.values + self._bias)
        best = int(np.argmax(scores))
        return Prediction(
            field=self.fields[best],
            confidence=float(scores[best]),
            scores=dict(zip(self.fields, scores.tolist(), strict=True)),
            features=_explain(features, self._weights[best], self._odds_factor),
        )

    def _by_kind(self, task: str) -> Prediction:
        return Prediction(
            field=CODE,
            confidence=1.0,
            scores={field: float(field == CODE) for field in self.fields},
            features=(Feature(f"{task} request", 1.0),),
        )


def _last_user_text(request: Request) -> str:
    """Return the last user message, or the last message of a chat in which no user spoke."""
    spoken = [m.content for m in request.messages if m.speaker == "user"]
    return spoken[-1] if spoken else request.messages[-1].content


def _explain(features: Features, weights: Floats, odds_factor: float) -> tuple[Feature, ...]:
    """Return the strongest words, word pairs and structural features, strongest first.

    `weights` are the predicted field's; an artifact's fields cancel out in each bucket, so times
    k / (k - 1) they are what a feature adds to the log odds against the mean of the other fields.
    """
    found = _term_weights(features, weights)
    structure = features.structure * weights[BUCKETS:]
    found.extend(zip(STRUCTURE, structure.tolist(), strict=True))
    found.sort(key=lambda pair: -abs(pair[1]))
    return tuple(Feature(text, w * odds_factor) for text, w in found[:MOST_FEATURES] if w)


def _term_weights(features: Features, weights: Floats) -> list[tuple[str, float]]:
    """Return the strongest distinct terms as (words of the prompt, weight)."""
    terms = features.terms
    on_terms = weights[features.words.buckets] * features.words.value
    on_terms[features.on_edge] += weights[features.edge.buckets] * features.edge.value
    ranked = np.argsort(-np.abs(on_terms), kind="stable")
    _, first = np.unique(features.words.buckets[ranked], return_index=True)
    strongest = ranked[np.sort(first)[:MOST_FEATURES]].tolist()
    return [
        (terms.text[terms.starts[at] : terms.ends[at]], float(on_terms[at])) for at in strongest
    ]
