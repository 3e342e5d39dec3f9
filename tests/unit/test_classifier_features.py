"""What the classifier sees of a text: terms, buckets, structure, and only a bounded part of it."""

import numpy as np
import pytest

from modelrouter.classifier.features import BUCKETS, WIDTH, extract, read_part
from modelrouter.classifier.structure import STRUCTURE, measure


def terms_of(text: str) -> list[str]:
    """Return words, then pairs, as the classifier cuts them."""
    terms = extract(text).terms
    return [terms.text[a:b] for a, b in zip(terms.starts, terms.ends, strict=True)]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("...", []),
        ("Hello", ["hello"]),
        ("make it so!", ["make", "it", "so", "make it", "it so"]),
        ("foo_bar(x)", ["foo_bar", "x", "foo_bar(x"]),
        ("naïve café", ["naïve", "café", "naïve café"]),
        ("排序 list", ["排", "序", "list", "排序", "序 list"]),
        ("हिन्दी", ["हिन्दी"]),
        ("İstanbul", ["istanbul"]),
        ("🙂🙃", ["🙂", "🙃", "🙂🙃"]),
    ],
)
def test_a_text_is_cut_into_words_and_pairs(text: str, terms: list[str]) -> None:
    """Words are runs of letters, digits and marks; a Chinese character or an emoji is one."""
    assert terms_of(text) == terms


def test_the_same_word_has_the_same_bucket_everywhere() -> None:
    """A term's bucket does not depend on where it stands."""
    features = extract("parse this and parse that")
    first, again = (
        at for at, t in enumerate(terms_of("parse this and parse that")) if t == "parse"
    )
    assert features.words.buckets[first] == features.words.buckets[again]
    assert features.words.buckets[first] == extract("parse").words.buckets[0]


def test_few_words_share_a_bucket() -> None:
    """Hashes spread: 10,000 different words fill about as many buckets as chance allows."""
    words = [f"{a}{b}{c}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyzäöüß" * 10]
    buckets = {
        int(extract(word + suffix).words.buckets[0]) for word in words[:1000] for suffix in "xy"
    }
    distinct = len({word + suffix for word in words[:1000] for suffix in "xy"})
    assert len(buckets) >= distinct * 0.99


def test_case_and_the_digits_themselves_do_not_matter_to_words() -> None:
    """SORT is sort, and 1984 is as good a number as 2026."""
    assert (
        extract("SORT 1984").words.buckets.tolist() == extract("sort 2026").words.buckets.tolist()
    )


def test_each_block_has_length_one() -> None:
    """Long prompts do not shout: every block of n-grams has Euclidean length 1."""
    features = extract("count the words of this line, please\nand answer\nwith a number")
    hashed = features.values[features.indices < BUCKETS]
    assert float(np.square(hashed).sum()) == pytest.approx(3, rel=1e-5)


def test_indices_stay_within_the_width() -> None:
    """Every index has a weight, and structure takes the last ones."""
    features = extract("def f(x): return x")
    assert features.indices.min() >= 0
    assert features.indices.max() == WIDTH - 1
    assert len(features.indices) == len(features.values)


def test_a_long_text_is_read_at_both_ends() -> None:
    """4,000 characters are read whole; of more, the first 3,000 and the last 1,000."""
    assert read_part("x" * 4_000) == "x" * 4_000
    assert read_part("a" * 3_000 + "b" * 5_000 + "c" * 1_000) == "a" * 3_000 + "\n" + "c" * 1_000


def test_the_edge_is_the_first_and_the_last_line() -> None:
    """Pasted lines between the ask above and below are not the edge."""
    features = extract("fix this\n\nfoo bar\nbaz\n\nthank you\n")
    terms = terms_of("fix this\n\nfoo bar\nbaz\n\nthank you\n")
    edge = [term for term, is_on in zip(terms, features.on_edge, strict=True) if is_on]
    assert edge == ["fix", "this", "thank", "you", "fix this", "thank you"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see:\n```\nx\n```", "fenced code"),
        ("what does `ls` do", "inline code"),
        ("#!/bin/sh\n", "shebang"),
        ("<fim_prefix>def", "fill-in-the-middle marks"),
        ("Traceback (most recent call last):", "stack trace"),
        ("if a:\n    b", "indented lines"),
        ("int a;\nint b;", "lines ending in ; { }"),
        ("if a:\n", "lines ending in a colon"),
        ("// note\n", "comment lines"),
        ("- milk\n- eggs", "list items"),
        ("f[0]", "brackets"),
        ("a < b", "angle brackets"),
        ("a + b", "operators"),
        ('say "hi"', "quotes"),
        ("12 apples", "digits"),
        ("$x^2$", "dollars and backslashes"),
        ("a = 1", "assignments"),
        ("a -> b", "code arrows and comparisons"),
        ("<b>x</b>", "tags"),
        ("ls -l", "flags"),
        ("cd ../src", "pipes and paths"),
        ("getName", "camelCase"),
        ("get_name", "snake_case"),
        ("list.append", "dotted names"),
        ("print(x", "calls"),
        ("why?", "question"),
        ("a\nb", "many lines"),
    ],
)
def test_structure_is_seen(text: str, name: str) -> None:
    """Each structural feature is above 0 where its sign stands, and 0 in plain words."""
    at = list(STRUCTURE).index(name)
    assert 0 < measure(text)[at] <= 1
    assert measure("plain words")[at] < measure(text)[at]


def test_every_structural_feature_is_tested() -> None:
    """A new measure needs a line in the table above."""
    cases = next(m for m in test_structure_is_seen.pytestmark if m.name == "parametrize").args[1]
    assert [name for _, name in cases] == list(STRUCTURE)
