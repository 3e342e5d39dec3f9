"""Says which field a request is from, how surely, and which of its words say so.

It knows nothing of models, rules or training: what to do with a field is the policy's affair.
"""

from pathlib import Path
from typing import Final, Self

import numpy as np

from modelrouter.classifier.artifact import SHIPPED, Artifact, read_artifact, softmax
from modelrouter.classifier.conversation import Said, is_side_job, said_in
from modelrouter.classifier.features import BUCKETS, Features, Floats, extract
from modelrouter.classifier.structure import STRUCTURE
from modelrouter.types import Feature, Hole, Prediction, Request, Task

CODE: Final = "code"
MOST_FEATURES: Final = 8

SHORT_CHARACTERS: Final = 40
UNSURE: Final = 0.95
"""A turn this short and unsure leans on those before it: "now make it faster"."""

EARLIER_WEIGHTS: Final = (1.0, 0.5)
"""What the logits of the turn before count beside those of the last, and of the one before that.

All three were chosen on prompts that nothing is trained on: benchmarks/classifier.py follow-ups.
"""


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
        """Return the field of the request, judged by what its user said last.

        A short last turn that leaves doubt is judged with up to two turns before it. Completions
        are code by their kind, where the classifier knows a field "code".
        """
        if request.task == "completion" and CODE in self.fields:
            return self._by_kind(request.task)
        said = said_in(request.messages) if request.hole is None else _said_around(request.hole)
        features = extract(said.last)
        logits = self._logits(features)
        context = self._context(said, logits)
        scores = softmax(logits + context)
        best = int(np.argmax(scores))
        return Prediction(
            field=self.fields[best],
            confidence=float(scores[best]),
            scores=dict(zip(self.fields, scores.tolist(), strict=True)),
            features=_reasons(features, self._weights[best], context[best], self._odds_factor),
            task=_task(request),
        )

    def _logits(self, features: Features) -> Floats:
        logits: Floats = self._bias + self._weights[:, BUCKETS:] @ features.structure
        for block in (features.words, features.edge, features.grams):
            logits += block.value * self._weights.take(block.distinct, axis=1).sum(axis=1)
        return logits

    def _context(self, said: Said, logits: Floats) -> Floats:
        """Return what the earlier turns add to the last one's logits; they may add nothing."""
        context = np.zeros_like(logits)
        if len(said.last) <= SHORT_CHARACTERS and softmax(logits).max() < UNSURE:
            for text, weight in zip(said.earlier, EARLIER_WEIGHTS, strict=False):
                context += weight * self._logits(extract(text))
        return context

    def _by_kind(self, task: Task) -> Prediction:
        return Prediction(
            field=CODE,
            confidence=1.0,
            scores={field: float(field == CODE) for field in self.fields},
            features=(Feature(f"{task} request", 1.0),),
            task=task,
        )


def _said_around(hole: Hole) -> Said:
    """Return what stands before and after the hole as one text."""
    return Said(hole.prefix + hole.suffix)


def _task(request: Request) -> Task:
    is_side = request.hole is None and is_side_job(request.messages)
    return "background" if is_side else request.task


def _reasons(
    features: Features, weights: Floats, context: np.float32, odds_factor: float
) -> tuple[Feature, ...]:
    """Return the strongest words, word pairs, structural features and the context, strongest first.

    `weights` are the predicted field's; an artifact's fields cancel out in each bucket, so times
    k / (k - 1) they are what a feature adds to the log odds against the mean of the other fields.
    """
    found = _term_weights(features, weights)
    structure = features.structure * weights[BUCKETS:]
    found.extend(zip(STRUCTURE, structure.tolist(), strict=True))
    found.append(("earlier turns", float(context)))
    found.sort(key=lambda pair: -abs(pair[1]))
    return tuple(Feature(text, w * odds_factor) for text, w in found[:MOST_FEATURES] if w)


def _term_weights(features: Features, weights: Floats) -> list[tuple[str, float]]:
    """Return the strongest distinct terms as (words of the prompt, weight)."""
    terms = features.terms
    on_terms = weights[features.words.buckets] * features.words.value
    on_terms[features.on_edge] += weights[features.edge.buckets] * features.edge.value
    ranked = np.argsort(-np.abs(on_terms), kind="stable")
    strongest: dict[int, int] = {}  # where each of the strongest buckets stands first in `ranked`
    for bucket, at in zip(features.words.buckets[ranked].tolist(), ranked.tolist(), strict=True):
        strongest.setdefault(bucket, at)
        if len(strongest) == MOST_FEATURES:
            break
    return [
        (terms.text[terms.starts[at] : terms.ends[at]], float(on_terms[at]))
        for at in strongest.values()
    ]
