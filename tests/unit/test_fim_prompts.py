"""A prompt that wears markers is taken apart, whichever family's they are; other text is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.engine.fim import render_hole
from modelrouter.engine.fim_prompts import hole_in
from modelrouter.gguf.fim import BY_NAME, Family
from modelrouter.types import Extra, Hole

P, S = "def f(x):\n    ", "\n    return y\n"
EXTRAS = (Extra("lib/a.py", "A = 1\n"), Extra("b.py", "B = 2\n"))


def written(hole: Hole, family: Family) -> str:
    """Return the prompt as a client writes it, in one text."""
    text = "".join(piece.text for piece in render_hole(hole, family, 4096, 128))
    if family.is_spaced and family.order == "prefix-first":
        text = text.replace("<PRE>", "<PRE> ").replace("<SUF>", " <SUF>").replace("<MID>", " <MID>")
    return text


@pytest.mark.parametrize("family", BY_NAME.values(), ids=lambda family: family.name)
@pytest.mark.parametrize("hole", [Hole(P, S), Hole(P, ""), Hole("", S), Hole(P, "\n\n")])
def test_each_family_is_read_as_it_is_written(family: Family, hole: Hole) -> None:
    """What was laid out is found again to the letter."""
    assert hole_in(written(hole, family)) == hole


@pytest.mark.parametrize(
    "name", ["qwen2.5-coder", "starcoder2", "starcoder", "codegemma", "codestral"]
)
def test_other_files_are_read_too(name: str) -> None:
    """With their names; the mark of the file with the hole itself is none of them."""
    found = hole_in(written(Hole(P, S, EXTRAS), BY_NAME[name]))
    assert found is not None
    assert (found.prefix, found.suffix) == (P, S)
    assert [(extra.filename, extra.text.strip()) for extra in found.extras] == [
        ("lib/a.py", "A = 1"),
        ("b.py", "B = 2"),
    ]


@pytest.mark.parametrize(
    ("prompt", "hole"),
    [
        ("<PRE> a <SUF>b <MID>", Hole("a", "b")),  # Continue, Zed, Twinny for CodeLlama
        ("<PRE>a <SUF>b<MID>", Hole("a ", "b")),
        ("<s>[SUFFIX]b[PREFIX]a", Hole("a", "b")),
        (
            "[SUFFIX]b[PREFIX]+++++ x.py\nX\n\n+++++ y.py\na",
            Hole("a", "b", (Extra("x.py", "X\n\n"),)),
        ),
        ("<|code_suffix|>b<|code_prefix|>a<|code_middle|><|assistant|>", Hole("a", "b")),
        ("<[fim-prefix]>a<[fim-suffix]>b<[fim-middle]>", Hole("a", "b")),  # Continue's own order
        ("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>\n", Hole("a", "b")),
        (
            "<file_sep>x.py\nX<file_sep><fim_prefix>a<fim_suffix>b<fim_middle>",
            Hole("a", "b", (Extra("x.py", "X"),)),
        ),
        (
            "# rules\n<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",
            Hole("a", "b", (Extra(None, "# rules\n"),)),
        ),
    ],
)
def test_prompts_of_clients(prompt: str, hole: Hole) -> None:
    """As they send them."""
    assert hole_in(prompt) == hole


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "def f():",
        "<|fim_prefix|>a",
        "<|fim_prefix|>a<|fim_suffix|>b",
        "<|fim_middle|>a<|fim_prefix|>b<|fim_suffix|>",
        "<|fim_prefix|>a<|fim_middle|><|fim_suffix|>b",
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>c",
        "<|fim_prefix|>a<|fim_suffix|>b<|fim_suffix|>c<|fim_middle|>",
        "<fim_prefix>a<|fim_suffix|>b<fim-middle>",
        "[PREFIX]a[SUFFIX]b",
        "In TOML [SUFFIX] and [PREFIX] are tables",
        "What does <PRE> mean, and <SUF>?",
    ],
)
def test_what_is_no_whole_pattern_is_a_text(prompt: str) -> None:
    """Half a layout, one twice, one out of order, one that somebody writes about."""
    assert hole_in(prompt) is None


MARKERS = [marker for family in BY_NAME.values() for marker in family.markers]


@given(st.lists(st.sampled_from([*MARKERS, "a", "\n", " "]), max_size=12).map("".join))
def test_no_prompt_is_too_odd(prompt: str) -> None:
    """Whatever stands in it, it is taken apart into its own parts or left alone."""
    hole = hole_in(prompt)
    assert hole is None or all(text in prompt for text in hole.texts)
