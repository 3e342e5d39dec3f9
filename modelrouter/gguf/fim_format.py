"""Which family's fill-in-the-middle markers a file has: by its keys, by its vocabulary, or by name.

It reads nothing: the header's facts come in. A model without such markers has no format.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from modelrouter.gguf.fim import BY_NAME, FAMILIES, WORD_BEGIN, Family
from modelrouter.gguf.vocabulary import FimTokens

UNNAMED = "unnamed"
"""The family of markers that no family of the table has: the file's keys alone name them."""


@dataclass(frozen=True, slots=True)
class FimFormat:
    """How one model is shown a hole: its family, spelled as its vocabulary does.

    `end_ids` are the tokens that end an answer, whether or not the vocabulary marks them so.
    """

    family: Family
    end_ids: tuple[int, ...]


def format_of(family: Family, token_ids: Mapping[str, int]) -> FimFormat | None:
    """Return the format of a family in a vocabulary; None where that lacks one of its parts.

    `token_ids` has the vocabulary's special tokens.
    """

    def spelled(text: str) -> str:
        ways = (text, WORD_BEGIN + text) if text else ()
        return next((way for way in ways if way in token_ids), "")

    ours = replace(
        family,
        prefix=spelled(family.prefix),
        suffix=spelled(family.suffix),
        middle=spelled(family.middle),
        repository=spelled(family.repository),
        file=spelled(family.file),
    )
    if len(ours.parts) < len(family.parts):
        return None
    ends = (*ours.markers, *filter(None, map(spelled, family.ends)))
    return FimFormat(ours, tuple(sorted({token_ids[end] for end in ends})))


def detected(
    tokens: FimTokens | None, token_ids: Mapping[str, int], model_name: str
) -> FimFormat | None:
    """Return the format that a file's facts speak for; None where it was not trained to fill in.

    `tokens` are those that the file's keys name or llama.cpp knows by their text: they say for sure
    which the markers are. Without them a family is looked for by all its parts.
    """
    if tokens is not None:
        return _of_tokens(tokens, token_ids)
    of_name = (family for family in FAMILIES if family.named in model_name.lower())
    return _nearest(format_of(family, token_ids) for family in of_name)


def _of_tokens(tokens: FimTokens, token_ids: Mapping[str, int]) -> FimFormat | None:
    texts = {token_id: text for text, token_id in token_ids.items()}
    parts = (tokens.pre, tokens.suf, tokens.mid, tokens.rep, tokens.sep)
    prefix, suffix, middle, repository, file = ("" if p is None else texts[p] for p in parts)
    known = (format_of(family, token_ids) for family in FAMILIES)
    nearest = _nearest(
        found
        for found in known
        if found is not None and found.family.parts == tuple(filter(None, (prefix, suffix, middle)))
    )
    unnamed = Family(UNNAMED, prefix, suffix, middle, repository=repository, file=file)
    return nearest or format_of(unnamed, token_ids)


def _nearest(formats: Iterable[FimFormat | None]) -> FimFormat | None:
    """Return the format of which the vocabulary lacks least; of several the first.

    Families share the spelling of their parts; the marker of a file tells them apart.
    """
    found = [each for each in formats if each is not None]
    return min(found, key=_lacking, default=None)


def _lacking(found: FimFormat) -> int:
    return len(BY_NAME[found.family.name].markers) - len(found.family.markers)
