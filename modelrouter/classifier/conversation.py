"""Finds in a conversation what the person said: the last word, and a little of what led to it.

It knows no features and no weights: messages in, texts out.

Agents and chat programs put words of their own into the user's turns. Those say what the program
is, not what the person wants, so they are left out. Each search is linear in the text's length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelrouter.types import Message

MOST_EARLIER_TURNS: Final = 2

HARNESS_TAGS: Final = (
    "environment_details",  # Cline and its kin: open files, the clock, the working directory
    "system-reminder",
    "system_reminder",
    "command-message",
    "local-command-stdout",
    "tools",  # tool schemas, as Hermes and Qwen templates write them
    "functions",
    "tool_response",
)
"""Blocks between `<tag>` and `</tag>` that programs write into a user's turn."""

SIDE_JOB_OPENING: Final = "### Task:"
"""How Open WebUI opens a job of its own: a title, tags, follow-up questions, a search query."""

SIDE_JOB_SUBJECTS: Final = ("user_query", "chat_history")
"""The blocks of such a job that hold a person's words."""


SIDE_JOB_SIGNS: Final = (
    re.compile(r"\b(titles?|tags|topic)\b", re.IGNORECASE),
    re.compile(r"\b(conversation|chat|thread|session|dialog(ue)?)\b", re.IGNORECASE),
    re.compile(r"\b(concise|only)\b|\b\d+[- ](words?|characters?)\b", re.IGNORECASE),
)
"""What chat programs without an opening of their own say when they want a chat's name: what it is,
of what, and how short. All three must stand near the beginning.
"""

SIDE_JOB_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said last, and the turns before it, newest first."""

    last: str
    earlier: tuple[str, ...] = ()


def said_in(messages: Sequence[Message]) -> Said:
    """Return the last user turn and up to two before it, without what programs put there.

    Turns in which nothing else stands are passed over. Where no turn of a user is left, the last
    message is what there is to judge, as it is.
    """
    turns: list[str] = []
    for message in reversed(messages):
        text = without_harness(message.content) if message.speaker == "user" else ""
        if text.strip():
            turns.append(text)
        if len(turns) > MOST_EARLIER_TURNS:
            break
    return Said(turns[0], tuple(turns[1:])) if turns else Said(messages[-1].content)


def is_side_job(messages: Sequence[Message]) -> bool:
    """Tell whether a chat program asks on its own account: for a title, tags, what to ask next."""
    last = messages[-1].content.lstrip()
    instructions = [m.content for m in messages[:1] if m.speaker == "system"]
    return last.startswith(SIDE_JOB_OPENING) or any(
        all(sign.search(text[:SIDE_JOB_CHARACTERS]) for sign in SIDE_JOB_SIGNS)
        for text in (last, *instructions)
    )


def without_harness(text: str) -> str:
    """Return `text` without the blocks that programs write; "" where nothing else stands in it."""
    words = text.replace("<task>", "").replace("</task>", "")
    for tag in HARNESS_TAGS:
        words = _outside(words, tag)
    if words != text:
        words = words.strip()
    return _subject(words) if words.startswith(SIDE_JOB_OPENING) else words


def _subject(job: str) -> str:
    """Return what a program's side job is about, or all of it where it does not say."""
    for tag in SIDE_JOB_SUBJECTS:
        if found := _inside(job, tag):
            return found
    return job


def _outside(text: str, tag: str) -> str:
    """Return `text` without its closed `<tag>` blocks; one that stays open is a person's word."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    kept, at = [], 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(closing)
    return "".join([*kept, text[at:]])


def _inside(text: str, tag: str) -> str:
    """Return what stands in the last closed `<tag>` block, "" where there is none.

    The last, because the instructions before it may name the tag.
    """
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, max(0, end))
    return text[start + len(tag) + 2 : end].strip() if start >= 0 else ""
