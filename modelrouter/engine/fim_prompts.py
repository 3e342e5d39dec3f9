"""Takes a prompt apart that already wears some family's fill-in-the-middle markers.

Clients choose a layout by the model's name, and a router's names say nothing: so whatever layout
it is, the parts are found and laid out again for the model that is chosen. Only a whole pattern
counts: each marker of a family once, in one of its orders. All else is a text like any other.
"""

import re
from collections.abc import Iterator

from modelrouter.gguf.fim import FAMILIES, Family
from modelrouter.types import Extra, Hole

BEGINNINGS = ("<s>", "<bos>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<|endoftext|>")
"""How families write the beginning of a text, where a client has written it too."""

ASSISTANT = "<|assistant|>"
"""GLM's own layout ends with it."""

_FILES = {family.file for family in FAMILIES if family.file}
_REPOSITORIES = {family.repository for family in FAMILIES if family.repository}
_FILE = re.compile("|".join(map(re.escape, sorted(_FILES))))
_REPOSITORY = re.compile(f"(?:{'|'.join(map(re.escape, sorted(_REPOSITORIES)))})[^\n]*\n?")


def hole_in(prompt: str) -> Hole | None:
    """Return the hole that a prompt shows in the layout of some family; None where it shows none.

    What stands before the layout becomes extras, with the files' names where they are marked.
    """
    found = (_read(prompt, family) for family in FAMILIES)
    return next((hole for hole in found if hole is not None), None)


def _read(prompt: str, family: Family) -> Hole | None:
    """Return the hole where each of the family's parts stands once and in an order of theirs."""
    if any(prompt.count(part) != 1 for part in family.parts):
        return None
    at = {part: prompt.index(part) for part in family.parts}
    ordered = sorted(family.parts, key=at.__getitem__)
    head = prompt[: at[ordered[0]]]
    texts = [
        prompt[at[part] + len(part) : at.get(after, len(prompt))]
        for part, after in zip(ordered, [*ordered[1:], ""], strict=True)
    ]
    sides = _sides(family, ordered, texts)
    if sides is None or (family.file_line and _without_beginning(head).strip()):
        return None
    prefix, suffix = sides
    if family.is_spaced and prefix.startswith(" "):
        prefix, suffix = prefix.removeprefix(" ").removesuffix(" "), suffix.removesuffix(" ")
    extras = list(_extras(head))
    if family.file_line:
        line = re.compile(f"^{re.escape(family.file_line)}", re.MULTILINE)
        *files, prefix = line.split(prefix)
        extras += [_named(file) for file in files if file.strip()]
        prefix = prefix.partition("\n")[2] if files else prefix
    return Hole(prefix, suffix, tuple(extras))


def _sides(family: Family, ordered: list[str], texts: list[str]) -> tuple[str, str] | None:
    """Return prefix and suffix, by the order of the parts and what stands behind each."""
    by_part = dict(zip(ordered, texts, strict=True))
    prefix, suffix = by_part[family.prefix], by_part[family.suffix]
    if not family.middle:
        return (prefix, suffix) if ordered[0] == family.suffix else None
    if ordered[-1] != family.middle:
        return None
    rest = by_part[family.middle]
    if not rest.replace(ASSISTANT, "").strip():
        return prefix, suffix
    is_inside = ordered[0] == family.prefix and not prefix.strip()
    return (rest, suffix) if is_inside else None


def _extras(head: str) -> Iterator[Extra]:
    """Yield the files before the layout; text that no marker names is one without a name."""
    head = _REPOSITORY.sub("", _without_beginning(head))
    first, *files = _FILE.split(head)
    if first.strip():
        yield Extra(None, first)
    for file in files:
        extra = _named(file)
        if extra.text.strip():  # the last one only names the file with the hole
            yield extra


def _named(file: str) -> Extra:
    """Return a file whose first line is its name."""
    name, _, text = file.partition("\n")
    return Extra(name.strip() or None, text)


def _without_beginning(head: str) -> str:
    for beginning in BEGINNINGS:
        head = head.removeprefix(beginning)
    return head
