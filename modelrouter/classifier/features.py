"""Turns a prompt's text into one sparse vector: hashed word and character n-grams, and structure.

It knows no labels, weights or files: training and serving both call `extract`, so they agree.

Three blocks of n-grams share the buckets, each with its own salt and scaled to length 1, so that
a long prompt does not shout louder than a short one:

- words and word pairs of all that was read;
- words and word pairs of the first and last line, where the ask stands when something is pasted;
- runs of 3, 4 and 5 characters, blanks collapsed.

Hashing is a polynomial over code points modulo 2**64 (Rabin and Karp's rolling hash), kept as
prefix sums: a span's hash is one subtraction and one product, so all spans are hashed at once.
"""

import unicodedata
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelrouter.classifier.structure import STRUCTURE, measure

BUCKET_BITS: Final = 20
HEAD_CHARACTERS: Final = 3_000
TAIL_CHARACTERS: Final = 1_000
EDGE_CHARACTERS: Final = 240
GRAM_SIZES: Final = (3, 4, 5)

BUCKETS: Final = 1 << BUCKET_BITS
WIDTH: Final = BUCKETS + len(STRUCTURE)
"""Length of a dense vector: all buckets, then the structural features in the order of STRUCTURE."""

SETTINGS: Final[dict[str, int | list[int] | list[str]]] = {
    "revision": 1,  # raise it when the same settings come to mean other buckets or values
    "bucket_bits": BUCKET_BITS,
    "head_characters": HEAD_CHARACTERS,
    "tail_characters": TAIL_CHARACTERS,
    "edge_characters": EDGE_CHARACTERS,
    "gram_sizes": list(GRAM_SIZES),
    "structure": list(STRUCTURE),
}
"""What weights must have been trained with to mean anything here; stands in the manifest."""

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]
Hashes: TypeAlias = NDArray[np.uint64]
Codes: TypeAlias = NDArray[np.uint32]
Flags: TypeAlias = NDArray[np.bool_]

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_PAIR = np.uint64(0xD6E8FEB86659FD93)
_WORD_SALT, _EDGE_SALT, _GRAM_SALT = (np.uint64(n * 0x94D049BB133111EB % 2**64) for n in (1, 2, 3))
_LONGEST = HEAD_CHARACTERS + TAIL_CHARACTERS + 1


def _powers(base: int) -> Hashes:
    """Return base**0 .. base**_LONGEST modulo 2**64."""
    factors = np.full(_LONGEST + 1, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors)


_POWERS = _powers(_BASE)
_INVERSE_POWERS = _powers(pow(_BASE, -1, 2**64))

_APART, _JOINED, _SINGLE = 0, 1, 2  # what a character does to words: ends one, joins one, is one


def _word_kind(character: str) -> int:
    """Return what a character does to words; combining marks belong to the letter before."""
    if character.isalnum():
        return _SINGLE if "\u3040" <= character <= "\u9fff" else _JOINED
    return _JOINED if character == "_" or unicodedata.category(character)[0] == "M" else _APART


_WORD_KINDS = np.fromiter(
    [*map(_word_kind, map(chr, range(0xFFFF))), _SINGLE], dtype=np.uint8, count=0x10000
)
"""By code point; the last entry stands for all beyond U+FFFE."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The words and word pairs of a text: where each stands in `text`, and its hash."""

    text: str
    starts: Indices
    ends: Indices
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class Block:
    """N-grams of one sort: a bucket for each in the text's order, then each bucket once.

    In the vector every distinct bucket has `value`, so that the block's length is 1.
    """

    buckets: Indices
    distinct: Indices
    value: float


@dataclass(frozen=True, slots=True)
class Features:
    """A prompt as the model sees it: three blocks of n-grams, and the values of STRUCTURE.

    `words` has a bucket for each of `terms`, `edge` for each of those that stand `on_edge`.
    """

    terms: Terms
    on_edge: Flags
    words: Block
    edge: Block
    grams: Block
    structure: Floats

    @property
    def indices(self) -> Indices:
        """Where the sparse vector is not 0, below WIDTH; where one comes twice, values add up."""
        blocks = (self.words.distinct, self.edge.distinct, self.grams.distinct)
        return np.concatenate([*blocks, _STRUCTURE_INDICES])

    @property
    def values(self) -> Floats:
        """The vector's value at each of `indices`, from 0 to 1."""
        blocks = (self.words, self.edge, self.grams)
        values = [np.full(len(block.distinct), block.value, np.float32) for block in blocks]
        return np.concatenate([*values, self.structure])


_STRUCTURE_INDICES = np.arange(BUCKETS, WIDTH)


def extract(text: str) -> Features:
    """Return the features of `text`: of its head and tail where it is longer than both together.

    Any str is accepted, lone surrogates and NUL too.
    """
    seen = read_part(text)
    lowered = _lower(seen)
    codes = _codes(lowered)
    terms = _terms(lowered, codes)
    on_edge = _on_edge(lowered, terms)
    return Features(
        terms=terms,
        on_edge=on_edge,
        words=_block(terms.hashes, _WORD_SALT),
        edge=_block(terms.hashes[on_edge], _EDGE_SALT),
        grams=_block(_gram_hashes(codes), _GRAM_SALT),
        structure=measure(seen),
    )


def read_part(text: str) -> str:
    """Return what is read of `text`: all of it, or its head and tail as two lines."""
    if len(text) <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n{text[-TAIL_CHARACTERS:]}"


def _lower(text: str) -> str:
    """Return `text` in lower case, no longer than it was: the powers have a bound."""
    return text.replace("İ", "I").lower()  # U+0130 alone would become two characters


def _codes(text: str) -> Codes:
    """Return the code points, with every ASCII digit as 0: 1984 and 2026 say the same."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.where((codes >= ord("1")) & (codes <= ord("9")), np.uint32(ord("0")), codes)


def _prefix_sums(codes: Codes) -> Hashes:
    """Return the polynomial's value before each character, and after the last."""
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * _POWERS[: len(codes)], out=sums[1:])
    return sums


def _terms(text: str, codes: Codes) -> Terms:
    """Return words, then pairs of neighbours, whatever stands between them.

    A character of a script written without blanks (Chinese, Japanese) is a word by itself.
    """
    kind = _WORD_KINDS[np.minimum(codes, 0xFFFF)]
    joined, single = kind == _JOINED, kind == _SINGLE
    starts = np.flatnonzero((joined & ~_shifted(joined, 1)) | single)
    ends = np.flatnonzero((joined & ~_shifted(joined, -1)) | single) + 1
    sums = _prefix_sums(codes)
    words = (sums[ends] - sums[starts]) * _INVERSE_POWERS[starts]
    return Terms(
        text,
        starts=np.concatenate([starts, starts[:-1]]),
        ends=np.concatenate([ends, ends[1:]]),
        hashes=np.concatenate([words, words[:-1] * _PAIR + words[1:]]),
    )


def _shifted(flags: Flags, by: int) -> Flags:
    """Return the flags of the neighbour one to the left (by 1) or right (by -1)."""
    moved = np.roll(flags, by)
    if len(moved):
        moved[0 if by == 1 else -1] = False
    return moved


def _on_edge(text: str, terms: Terms) -> Flags:
    """Return which terms stand in the first or last line that is not blank (240 characters).

    None do where all would: a short ask has no edge to tell from the rest.
    """
    body = text.rstrip()
    first = len(body) - len(body.lstrip())
    line_end = body.find("\n", first)
    head_end = min(len(body) if line_end < 0 else line_end, first + EDGE_CHARACTERS)
    tail_start = max(body.rfind("\n") + 1, len(body) - EDGE_CHARACTERS)
    on_edge: Flags = (terms.ends <= head_end) | (terms.starts >= tail_start)
    return on_edge & (not on_edge.all())


def _gram_hashes(codes: Codes) -> Hashes:
    """Return the hash of every run of 3, 4 and 5 characters; runs of blanks count as one."""
    blank = (codes == ord(" ")) | (codes == ord("\t"))
    codes = codes[~(blank & _shifted(blank, 1))]
    sums = _prefix_sums(codes)
    hashes = [
        (sums[size:] - sums[:-size]) * _INVERSE_POWERS[: max(0, len(sums) - size)] + np.uint64(size)
        for size in GRAM_SIZES
    ]
    return np.concatenate(hashes)


def _block(hashes: Hashes, salt: np.uint64) -> Block:
    """Return the block of the n-grams with these hashes; `salt` tells blocks apart."""
    mixed = (hashes ^ salt) * _MIX
    mixed ^= mixed >> np.uint64(32)  # so that the top bits depend on all the others
    buckets = ((mixed * _MIX) >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)
    distinct = _distinct(buckets)
    return Block(buckets, distinct, value=float(1 / np.sqrt(max(1, len(distinct)))))


def _distinct(buckets: Indices) -> Indices:
    """Return each bucket once, in ascending order."""
    ordered = np.sort(buckets.astype(np.int32))  # half the width sorts in half the time
    first = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first].astype(np.int64)
