"""A hole becomes the very prompt that each family was trained on, cut to what the context holds.

Pure: no model; that the markers become single tokens is `contract/test_fim_tokens.py`.
"""

import pytest

from modelrouter.engine.fim import (
    MOST_PREFIX_TOKENS,
    MOST_SUFFIX_TOKENS,
    fitted,
    render_hole,
    tokens_in,
)
from modelrouter.errors import RequestError
from modelrouter.generation import Piece
from modelrouter.gguf.fim import BY_NAME, FAMILIES, Family
from modelrouter.types import Extra, Hole

HOLE = Hole("def f(x):\n    ", "\n    return y\n")
EXTRAS = (Extra("lib/a.py", "A = 1"), Extra(None, "B = 2\n"))
AMONG_FILES = Hole(HOLE.prefix, HOLE.suffix, EXTRAS)
P, S = HOLE.prefix, HOLE.suffix

LAYOUTS = {
    "qwen2.5-coder": f"<|fim_prefix|>{P}<|fim_suffix|>{S}<|fim_middle|>",
    "codegemma": f"<|fim_prefix|>{P}<|fim_suffix|>{S}<|fim_middle|>",
    "granite-4": f"<|fim_prefix|>{P}<|fim_suffix|>{S}<|fim_middle|>",
    "starcoder2": f"<fim_prefix>{P}<fim_suffix>{S}<fim_middle>",
    "starcoder": f"<fim_prefix>{P}<fim_suffix>{S}<fim_middle>",
    "granite-code": f"<fim_prefix>{P}<fim_suffix>{S}<fim_middle>",
    "santacoder": f"<fim-prefix>{P}<fim-suffix>{S}<fim-middle>",
    "deepseek-coder": f"<\uff5cfim▁begin\uff5c>{P}<\uff5cfim▁hole\uff5c>{S}<\uff5cfim▁end\uff5c>",
    "codellama": f"<PRE>{P}<SUF>{S}<MID>",  # its tokenizer puts the blank before each text
    "glm": f"<|code_prefix|>{P}<|code_suffix|>{S}<|code_middle|>",
    "seed-coder": f"<[fim-suffix]>{S}<[fim-prefix]>{P}<[fim-middle]>",
    "falcon": f"<|prefix|>{P}<|suffix|>{S}<|middle|>",
    "codestral": f"[SUFFIX]{S}[PREFIX]{P}",
    "codellama-suffix-inside": f"<PRE><SUF>{S}<MID>{P}",
    "starcoder-suffix-inside": f"<fim_prefix><fim_suffix>{S}<fim_middle>{P}",
}


def prompt(hole: Hole, family: Family | None, context: int = 4096) -> str:
    """Return the prompt as one text."""
    return "".join(piece.text for piece in render_hole(hole, family, context, 128))


@pytest.mark.parametrize("name", BY_NAME)
def test_the_layout_of_each_family(name: str) -> None:
    """Markers are special, the caller's text is not, and an empty side is left empty."""
    family = BY_NAME[name]
    pieces = render_hole(HOLE, family, 4096, 128)
    assert "".join(piece.text for piece in pieces) == LAYOUTS[name]
    assert [piece.text for piece in pieces if not piece.special] in ([P, S], [S, P])
    without = LAYOUTS[name].replace(P, "").replace(S, "")
    assert prompt(Hole("", "x"), family) == LAYOUTS[name].replace(P, "").replace(S, "x")
    assert prompt(Hole("", ""), family) == without


FILES = "{repo}{file}lib/a.py\nA = 1\n{file}filename\nB = 2\n{file}filename\n"


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("qwen2.5-coder", FILES.format(repo="<|repo_name|>project\n", file="<|file_sep|>")),
        ("starcoder2", FILES.format(repo="<repo_name>project\n", file="<file_sep>")),
        ("starcoder", FILES.format(repo="<reponame>project\n", file="<filename>")),
        ("codegemma", FILES.format(repo="", file="<|file_separator|>")),
        ("deepseek-coder", "A = 1\n\n--- snippet ---\n\nB = 2\n\n\n--- snippet ---\n\n"),
    ],
)
def test_other_files_come_first(name: str, before: str) -> None:
    """They stay the same from one key stroke to the next, so all before the hole is read once."""
    assert prompt(AMONG_FILES, BY_NAME[name]) == before + LAYOUTS[name]


def test_codestral_reads_other_files_in_its_prefix() -> None:
    """Its files begin with a line of text, where it was trained to see them."""
    assert prompt(AMONG_FILES, BY_NAME["codestral"]) == (
        f"[SUFFIX]{S}[PREFIX]+++++ lib/a.py\nA = 1\n\n+++++ filename\nB = 2\n\n+++++ filename\n{P}"
    )


def test_a_model_without_markers_goes_on_with_the_prefix() -> None:
    """From left to right, the suffix unseen; with nothing before the cursor it cannot."""
    assert prompt(HOLE, None) == P
    assert prompt(AMONG_FILES, None).endswith(f"B = 2\n\n\n--- snippet ---\n\n{P}")
    with pytest.raises(RequestError, match="nothing stands before the cursor"):
        prompt(Hole("", "x"), None)
    assert render_hole(Hole("", ""), None, 4096, 0) == ()


@pytest.mark.parametrize("name", BY_NAME)
def test_text_that_spells_a_marker_is_cut_inside_it(name: str) -> None:
    """No plain piece holds a marker of the model, whoever wrote it where; no text is lost."""
    family = BY_NAME[name]
    evil = "a".join(family.markers) + "".join(family.markers)
    hole = Hole(evil, evil, (Extra("\n".join(family.markers), evil),))
    pieces = render_hole(hole, family, 4096, 128)
    plain = [piece.text for piece in pieces if not piece.special]
    assert not [text for text in plain for marker in family.markers if marker in text]
    assert "".join(plain).count(evil) == 3
    alone = render_hole(HOLE, family, 4096, 128)
    assert _special(pieces)[-len(_special(alone)) :] == _special(alone)


def _special(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.special]


def test_the_prefix_keeps_its_end_and_the_suffix_its_start() -> None:
    """Around the cursor nothing is lost; each is cut where it is farthest from it."""
    lines = [f"line {n} of this file\n" for n in range(2000)]
    text = "".join(lines)
    cut = fitted(Hole(text, text), 100_000)
    assert text.endswith(cut.prefix)
    assert text.startswith(cut.suffix)
    assert 0.6 * MOST_PREFIX_TOKENS < tokens_in(cut.prefix) <= MOST_PREFIX_TOKENS
    assert 0.9 * MOST_SUFFIX_TOKENS < tokens_in(cut.suffix) <= MOST_SUFFIX_TOKENS
    assert fitted(HOLE, 1000) == HOLE


def test_a_small_context_is_shared() -> None:
    """Seven tenths for the prefix, two for the suffix; other files get what is left."""
    text = "word " * 400
    extra = Extra("a", "x")
    cut = fitted(Hole(text, text, (extra, extra)), 200)
    assert tokens_in(cut.prefix) <= 140
    assert 35 <= tokens_in(cut.suffix) <= 40
    assert cut.extras == (extra,)


def test_other_files_do_not_depend_on_what_is_typed() -> None:
    """Also not on whether there is anything yet: those that an editor warms up are the same."""
    extras = tuple(Extra(f"{n}.py", "x = 1\n" * 20) for n in range(40))
    empty, full = Hole("", "", extras), Hole("word " * 2000, "word " * 2000, extras)
    kept = fitted(empty, 2500).extras
    assert 0 < len(kept) < 40
    assert fitted(full, 2500).extras == kept
    warm, asked = (render_hole(empty, FAMILIES[0], 4096, tokens) for tokens in (0, 128))
    assert warm == asked


def test_other_files_are_dropped_from_the_front() -> None:
    """The last ones are those nearest to what the user does."""
    extras = tuple(Extra(f"{n}.py", "x = 1\n" * 20) for n in range(9))
    kept = fitted(Hole("a", "b", extras), 2000).extras
    assert 0 < len(kept) < 9
    assert kept == extras[-len(kept) :]


def test_a_long_prefix_begins_at_the_same_line_while_one_types() -> None:
    """Also where the caller cuts the file before us, at another line after each new one: seven of
    eight new lines leave the beginning as it was.
    """
    lines = [f"    value_{n} = compute({n * 7919 % 1000})\n" for n in range(600)]
    begins = set()
    for typed in range(40):
        seen = lines[typed : 400 + typed]  # a window of 400 lines that moves with the cursor
        begins.add(fitted(Hole("".join(seen) + "x" * typed, ""), 3000).prefix[:30])
    assert len(begins) <= 5
    assert all(begin.startswith("    value_") for begin in begins)


def test_a_line_without_end_is_cut_anyway() -> None:
    """A minified file has no lines to begin at."""
    assert tokens_in(fitted(Hole("ab;" * 9000, ""), 1000).prefix) <= 750


@pytest.mark.parametrize(
    "text", ["7 8 9 " * 800, "日本語のコメント" * 400, "🦙" * 90, "};)(" * 900]
)
def test_dense_text_fits_too(text: str) -> None:
    """Digits, signs and other scripts are counted one by one."""
    kept = fitted(Hole(text, text), 400).prefix
    assert 200 < tokens_in(kept) <= 300
    assert len(kept.replace(" ", "")) <= 300


def test_the_answer_has_room() -> None:
    """As much as is asked for, but no more than a quarter of the context."""
    extras = tuple(Extra("a", "word " * 50) for _ in range(99))
    usual, long, longer = (
        len(render_hole(Hole("", "", extras), FAMILIES[0], 4096, tokens))
        for tokens in (128, 1024, 4000)
    )
    assert usual > long == longer
