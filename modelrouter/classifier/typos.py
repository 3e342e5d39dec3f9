"""Disturbs a prompt as hurried people do: typos, another case, a polite word, a lost full stop.

It knows no labels and no features. The same text and seed always give the same disturbance.
"""

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from typing import Final

FEWEST_LETTERS: Final = 4
"""Shorter words are left alone: "to" with a typo is another word."""

WORDS_A_TYPO: Final = 8
"""One word in so many is misspelt, and at least one."""

KEYBOARD_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

OPENINGS: Final = ("please ", "hey, ", "hi, ", "ok so ", "quick one: ", "could you help? ")
ENDINGS: Final = (" please", " thanks", " thank you!", ", asap", " pls")

_WORD = re.compile(rf"[^\W\d_]{{{FEWEST_LETTERS},}}")


def misspelt(text: str, seed: int = 0) -> str:
    """Return `text` with one long word in eight misspelt; without long words, as it is."""
    dice = _dice(text, seed)
    words = list(_WORD.finditer(text))
    count = min(len(words), max(1, len(words) // WORDS_A_TYPO))
    kept, at = [], 0
    for word in sorted(dice.sample(words, count), key=re.Match.start):
        kept += [text[at : word.start()], _slip(word.group(), dice)]
        at = word.end()
    return "".join([*kept, text[at:]])


def in_another_case(text: str, seed: int = 0) -> str:
    """Return `text` in small letters, in capitals, or with the case of its first letter changed."""
    change = _dice(text, seed).choice((str.lower, str.upper, _first_swapped))
    return change(text)


def reworded(text: str, seed: int = 0) -> str:
    """Return `text` with a polite word before or after it, or without its last mark."""
    dice = _dice(text, seed)
    body = text.rstrip()
    if body.endswith((".", "?", "!")) and dice.random() < 0.5:
        return body[:-1]
    return dice.choice(OPENINGS) + text if dice.random() < 0.5 else body + dice.choice(ENDINGS)


DISTURBANCES: Final[Mapping[str, Callable[[str, int], str]]] = {
    "typos": misspelt,
    "case": in_another_case,
    "wording": reworded,
}
"""Every disturbance by the name under which it is reported."""


def disturbed(text: str, seed: int) -> str:
    """Return `text` misspelt, and then half of the times disturbed in another way too."""
    dice = _dice(text, seed)
    change = dice.choice((in_another_case, reworded, _unchanged, _unchanged))
    return change(misspelt(text, seed), seed)


def _slip(word: str, dice: random.Random) -> str:
    """Return `word` with two letters swapped, or one lost, doubled or from a neighbouring key."""
    at = dice.randrange(len(word) - 1)
    here, after = word[at], word[at + 1 :]
    slips = (
        word[:at] + after[0] + here + after[1:],
        word[:at] + after,
        word[:at] + here + here + after,
        word[:at] + dice.choice(_neighbours(here)) + after,
    )
    return dice.choice(slips)


def _neighbours(letter: str) -> str:
    """Return the letters beside `letter` on the keyboard, or itself where it is on none."""
    for row in KEYBOARD_ROWS:
        if (at := row.find(letter.lower())) >= 0:
            return row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    return letter


def _first_swapped(text: str) -> str:
    return text[:1].swapcase() + text[1:]


def _unchanged(text: str, seed: int) -> str:  # noqa: ARG001
    return text


def _dice(text: str, seed: int) -> random.Random:
    digest = hashlib.sha256(f"{seed}:{text}".encode(errors="surrogatepass")).digest()
    return random.Random(digest)  # noqa: S311  chance for training data, not for secrets
