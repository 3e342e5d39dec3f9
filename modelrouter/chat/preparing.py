"""What a chat is to one model: its prompt, the form that holds the answer, and how that is read."""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from modelrouter.chat.families import THINK, THOUGHT, Family, family_of
from modelrouter.chat.reader import AnswerReader
from modelrouter.engine.constraint import compiled
from modelrouter.engine.prompt import render
from modelrouter.errors import RequestError
from modelrouter.generation import Piece
from modelrouter.registry import ChatFormat
from modelrouter.types import Request

ID_LETTERS = string.ascii_letters + string.digits
ID_LENGTH = 9
"""What Mistral's templates insist on; nobody else minds."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as one model gets it.

    `grammar` holds the answer to a form, None leaves it free. `spelled` are control tokens that are
    to be spelled out in the answer's text. `begun` is what the prompt says of the answer already.
    """

    pieces: tuple[Piece, ...]
    grammar: str | None = None
    spelled: tuple[str, ...] = ()
    is_chat: bool = False
    family: Family | None = None
    begun: str = ""

    def reader(self) -> AnswerReader | None:
        """Return a reader for one answer; None where its text is all there is."""
        return AnswerReader(self.family, self.begun, _new_id) if self.is_chat else None


def prepare(request: Request, chat: ChatFormat | None, grammar: str | None = None) -> Prepared:
    """Return the request made ready; RequestError or BadModelFile where this model cannot take it.

    `grammar` is the form that was asked for, as `constraint.compiled` gives it. An answer that is
    held to a form, or must call a tool, does not reason aloud before.
    """
    family = None if chat is None else family_of(chat.template)
    if request.needs_tools and chat is not None and family is None:
        raise RequestError(
            "the model's chat template knows no tools",
            hint="name a model that was trained to call tools, or leave them out",
        )
    pieces = render(request, chat)
    if request.task == "completion":
        return Prepared(pieces, grammar)
    forced = request.toolbox.forced
    begun = THINK if _ends_in(pieces, THINK) else ""
    if forced and family is not None:
        grammar = compiled(family.forced_format(forced))
    if begun and grammar is not None:
        pieces, begun = (*pieces, Piece(f"\n{THOUGHT}\n\n", special=True)), ""
    if forced and family is not None and family.begins:
        pieces, begun = (*pieces, Piece(family.begins, special=True)), family.begins
    spelled = (THINK, THOUGHT, *(family.tokens if family and request.toolbox.shown else ()))
    reads = family if request.toolbox.shown else None
    return Prepared(pieces, grammar, spelled, True, reads, begun)


def _ends_in(pieces: Sequence[Piece], mark: str) -> bool:
    """Tell whether the template's own last words are the mark."""
    return bool(pieces) and pieces[-1].special and pieces[-1].text.rstrip().endswith(mark)


def _new_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))
