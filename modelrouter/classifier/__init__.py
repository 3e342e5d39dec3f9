"""The classifier: a request in, a field with its score and reasons out.

It says what a prompt is and must not know what is done about it.
"""

from modelrouter.classifier.model import Classifier

__all__ = ["Classifier"]
