"""The reader of answers: text as it comes in, content, reasoning and tool calls out.

Pure. However the text is cut, the same comes out; what may yet be a mark or a call is held back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from modelrouter.chat.calls import CallReader, NotACall
from modelrouter.chat.families import LLAMA, PYTHON_TAG, THINK, THOUGHT, Family
from modelrouter.tokens import TokenLogprobs
from modelrouter.tools import ToolCall

State = Literal["start", "thinking", "thought", "saying", "calling"]


@dataclass(frozen=True, slots=True)
class Part:
    """The next piece of an answer. The chances are of all tokens, whatever they were a part of."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.calls or self.logprobs)


@dataclass(slots=True)
class _Found:
    """What one push brings to light."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)


class AnswerReader:
    """Reads one answer of a chat."""

    def __init__(self, family: Family | None, begun: str, new_id: Callable[[], str]) -> None:
        """Read tool calls as the family writes them, none where it is None.

        `begun` is what the prompt has said of the answer already; `new_id` names calls.
        """
        self._family = family
        self._new_id = new_id
        self._state: State = "start"
        self._held = ""
        self._before = ""
        """Where a call may have begun: the text that is content should it be none."""
        self._calls: CallReader | None = None
        self._has_thought = False
        self._has_said = False
        self._has_called = False
        self.push(begun)

    def push(self, text: str) -> Part:
        """Take the next text in; return what is certain by now."""
        self._held += text
        return self._read(is_last=False)

    def finish(self) -> Part:
        """Return what was held back, at the end of the answer."""
        return self._read(is_last=True)

    def _read(self, *, is_last: bool) -> Part:
        found = _Found()
        steps = {
            "start": self._start,
            "thinking": self._think,
            "thought": self._skip_blanks,
            "saying": self._say,
            "calling": self._call,
        }
        while steps[self._state](found, is_last=is_last):
            pass
        return Part(found.text, found.reasoning, tuple(found.calls))

    def _start(self, _found: _Found, *, is_last: bool) -> bool:
        """Look whether the answer begins with reasoning; go on where that is known."""
        begin = self._held.lstrip()
        if begin.startswith(THINK):
            self._held, self._state = begin[len(THINK) :], "thinking"
            return True
        if THINK.startswith(begin) and not is_last:
            return False
        self._state = "saying"
        return True

    def _think(self, found: _Found, *, is_last: bool) -> bool:
        """Take reasoning to its closing mark; blanks around it are nobody's."""
        text, mark, rest = self._held.partition(THOUGHT)
        if mark or is_last:
            self._reason(found, text.rstrip())
            self._held, self._state = rest, "thought"
            return bool(mark)
        certain = text[: len(text) - _overlap(text, THOUGHT)].rstrip()
        self._reason(found, certain)
        self._held = text[len(certain) :]
        return False

    def _reason(self, found: _Found, text: str) -> None:
        text = text if self._has_thought else text.lstrip()
        found.reasoning += text
        self._has_thought = self._has_thought or bool(text)

    def _skip_blanks(self, _found: _Found, *, is_last: bool) -> bool:
        del is_last
        self._held = self._held.lstrip()
        if self._held:
            self._state = "saying"
        return bool(self._held)

    def _say(self, found: _Found, *, is_last: bool) -> bool:
        """Pass content on, up to where a call begins."""
        if self._family is None:
            found.text += self._take(len(self._held))
            return False
        at, opening = self._opening(self._family)
        if opening is not None:
            said = self._held[:at].rstrip()
            self._emit(found, said)
            self._before = self._held[len(said) : at] + opening
            self._held, self._state = self._held[at + len(opening) :], "calling"
            self._calls = self._family.reader()
            return True
        if is_last:
            rest = self._take(len(self._held))
            self._emit(found, rest.rstrip() if self._has_called else rest)
            return False
        self._emit(found, self._take(self._certain(self._family)))
        return False

    def _emit(self, found: _Found, text: str) -> None:
        found.text += text
        self._has_said = self._has_said or bool(text.strip())

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        return taken

    def _opening(self, family: Family) -> tuple[int, str | None]:
        """Return where a call begins, and with what; None where none does yet."""
        if family.opening:
            at = self._held.find(family.opening)
            return at, family.opening if at >= 0 else None
        begin = self._held.lstrip()
        at = len(self._held) - len(begin)
        if self._has_said or not begin:
            return at, None
        if family is LLAMA and begin.startswith(PYTHON_TAG):
            return at, PYTHON_TAG
        return at, "" if begin[0] in "{[" else None

    def _certain(self, family: Family) -> int:
        """Return how much of what is held can no longer be a part of a call, or blank before it."""
        marks: Sequence[str] = (family.opening,) if family.opening else ()
        if not family.opening and not self._has_said:
            if not self._held.strip():
                return 0
            marks = (PYTHON_TAG,) if family is LLAMA else ()
            if any(mark.startswith(self._held.lstrip()) for mark in marks):
                return 0
            return len(self._held)
        overlap = max((_overlap(self._held, mark) for mark in marks), default=0)
        return len(self._held[: len(self._held) - overlap].rstrip())

    def _call(self, found: _Found, *, is_last: bool) -> bool:
        """Read calls; what turns out to be none is content after all."""
        assert self._calls is not None
        try:
            calls = self._calls.read(self._held, is_last=is_last)
        except NotACall:
            self._emit(found, self._before)
            self._has_said = True
            self._state = "saying"
            return True
        if calls is None:
            return False
        found.calls += [ToolCall(self._new_id(), name, given) for name, given in calls.calls]
        self._held, self._state, self._has_called = self._held[calls.end :], "saying", True
        return True


def _overlap(text: str, mark: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `mark`."""
    longest = min(len(text), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
