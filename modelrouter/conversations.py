"""Which model answered a conversation so far: remembered by the hash of what was said.

It keeps no text. It knows no policy: that a conversation may stay with its model is decided there.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence

from modelrouter.types import Message

MOST_CONVERSATIONS = 10_000
"""140 bytes each, as measured: 1.4 MB, and more than a box answers in a day."""


class Conversations:
    """The conversations answered last; the one longest untouched is forgotten first."""

    def __init__(self, most: int = MOST_CONVERSATIONS) -> None:
        """Remember `most` conversations."""
        self._most = most
        self._models: OrderedDict[bytes, str] = OrderedDict()

    def answered_by(self, messages: Sequence[Message]) -> str | None:
        """Return the model that gave the last answer in `messages`; None where none is known."""
        ends = [n for n, message in enumerate(messages, 1) if message.speaker == "assistant"]
        return self._models.get(_digest(messages[: ends[-1]])) if ends else None

    def note(self, messages: Sequence[Message], answer: str, model: str) -> None:
        """Remember that `model` gave this answer to these messages."""
        digest = _digest([*messages, Message("assistant", answer)])
        self._models[digest] = model
        self._models.move_to_end(digest)
        while len(self._models) > self._most:
            self._models.popitem(last=False)


def _digest(messages: Sequence[Message]) -> bytes:
    """Return a hash of who said what; clients trim answers, so blanks around a turn do not count.

    System messages are left out: programs write the time and the open files into them.
    """
    said = [(m.speaker, m.content.strip()) for m in messages if m.speaker != "system"]
    return hashlib.sha256(json.dumps(said).encode()).digest()
