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
from modelrouter.registry import ChatFormat
from modelrouter.types import Piece, Request

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


def prepare(request: Request, chat: ChatFormat | None) -> Prepared:
    """Return the request made ready; RequestError or BadModelFile where this model cannot take it.

    An answer that is held to a form, or must call a tool, does not reason aloud before.
    """
    family = None if chat is None else family_of(chat.template)
    if request.needs_tools and chat is not None and family is None:
        raise RequestError(
            "the model's chat template knows no tools",
            hint="name a model that was trained to call tools, or leave them out",
        )
    pieces = render(request, chat)
    if request.task == "completion":
        return Prepared(pieces, _grammar(request, None))
    forced = request.toolbox.forced
    begun = THINK if _ends_in(pieces, THINK) else ""
    if begun and (forced or request.answer_format):
        pieces, begun = (*pieces, Piece(f"\n{THOUGHT}\n\n", special=True)), ""
    if forced and family is not None and family.begins:
        pieces, begun = (*pieces, Piece(family.begins, special=True)), family.begins
    spelled = (THINK, THOUGHT, *(family.tokens if family and request.toolbox.shown else ()))
    reads = family if request.toolbox.shown else None
    return Prepared(pieces, _grammar(request, family), spelled, True, reads, begun)


def _grammar(request: Request, family: Family | None) -> str | None:
    """Return the grammar of a call that must be made, or of the form that was asked for."""
    if (forced := request.toolbox.forced) and family is not None:
        return compiled(family.forced_format(forced))
    return None if request.answer_format is None else compiled(request.answer_format)


def _ends_in(pieces: Sequence[Piece], mark: str) -> bool:
    """Tell whether the template's own last words are the mark."""
    return bool(pieces) and pieces[-1].special and pieces[-1].text.rstrip().endswith(mark)


def _new_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))
