"""The cases of `TextStream` by name: characters in parts, stop strings in parts, both at once.

That they hold for any text and any cutting is `properties/test_text_stream.py`.
"""

from collections.abc import Sequence

import pytest

from modelrouter.engine.text import TextStream


def shown(chunks: Sequence[bytes], stop: Sequence[str] = (), indent: int = 0) -> list[str]:
    """Return what each push shows, then what the end does."""
    stream = TextStream(stop, indent)
    return [*(stream.push(chunk) for chunk in chunks), stream.finish()]


def test_an_answer_ends_before_a_line_indented_less() -> None:
    """The line is not shown, nor the line end before it; empty lines and the first line may be."""
    stream = TextStream(indent=4)
    assert stream.push(b"x = 1\n") == "x = 1"
    assert stream.push(b"    y\n\n") == "\n    y\n"
    assert stream.push(b"  ") == ""
    assert stream.push(b"  z\n \n  w\n    v") == "\n    z\n "
    assert stream.stopped
    assert stream.finish() == ""


def test_a_stop_string_that_is_also_a_line_indented_less() -> None:
    """One end is enough, and the stop string is named."""
    stream = TextStream(["\nx"], indent=2)
    assert stream.push(b"a\nx") == "a"
    assert (stream.stopped, stream.stopped_by) == (True, "\nx")


def test_blanks_at_the_end_are_shown() -> None:
    """A line of which nothing but blanks came is no line indented less."""
    assert shown([b"a\n  "], indent=4) == ["a", "\n  "]
    assert shown([b"a\n\t\t\tb"], indent=2) == ["a\n\t\t\tb", ""]


def test_text_is_shown_at_once() -> None:
    """Without stop strings nothing whole is held back."""
    assert shown([b"Hello", b",", b" world"]) == ["Hello", ",", " world", ""]


def test_a_character_is_shown_when_it_is_whole() -> None:
    """The bytes of one character may come in four tokens."""
    assert shown([b"a\xf0", b"\x9f", b"\xa6", b"\x99!"]) == ["a", "", "", "🦙!", ""]


def test_half_a_character_at_the_end_is_marked() -> None:
    """Bytes that the model never finished become U+FFFD, not an error and not nothing."""
    assert shown([b"a\xf0\x9f"]) == ["a", "\N{REPLACEMENT CHARACTER}"]


def test_a_broken_character_does_not_swallow_the_next() -> None:
    """A small model writes invalid UTF-8; what follows is still shown."""
    assert shown([b"\xf0\x9f", b"ok"]) == ["", "\N{REPLACEMENT CHARACTER}ok", ""]


def test_nothing_of_a_stop_string_is_shown() -> None:
    """The answer ends before the stop string, and nothing comes out after it."""
    stream = TextStream(["END"])
    assert stream.push(b"one E") == "one "
    assert stream.push(b"N") == ""
    assert stream.stopped_by is None
    assert stream.push(b"D two") == ""
    assert stream.stopped_by == "END"
    assert stream.push(b"three") == ""
    assert stream.finish() == ""


def test_what_only_began_like_a_stop_string_is_shown() -> None:
    """Held text comes out once it can no longer become a stop string, and at the end."""
    assert shown([b"E", b"N", b"C", b"EN"], ["END"]) == ["", "", "ENC", "", "EN"]


def test_a_beginning_inside_a_beginning() -> None:
    """Where one attempt at the stop string fails, a later one inside it may succeed."""
    assert shown([b"a", b"a", b"b", b"c"], ["aabc"]) == ["", "", "", "", ""]
    assert shown([b"a", b"a", b"a", b"b", b"c"], ["aabc"]) == ["", "", "a", "", "", ""]


@pytest.mark.parametrize("stop", [["bc", "abcd"], ["abcd", "bc"]])
@pytest.mark.parametrize("chunks", [[b"xabcdx"], [b"x", b"a", b"b", b"c", b"d", b"x"]])
def test_the_first_complete_stop_string_ends_the_answer(
    chunks: list[bytes], stop: list[str]
) -> None:
    """Of two that overlap it is the one complete first, in whatever pieces the text comes."""
    assert "".join(shown(chunks, stop)) == "xa"


@pytest.mark.parametrize("chunks", [[b"xabcx"], [b"x", b"a", b"b", b"c", b"x"]])
def test_of_two_complete_at_once_the_longer_counts(chunks: list[bytes]) -> None:
    """No part of either is shown."""
    assert "".join(shown(chunks, ["bc", "abc"])) == "x"


def test_a_stop_string_may_be_cut_inside_a_character() -> None:
    """Stop strings are characters, tokens are bytes."""
    assert shown([b"caf", b"\xc3", b"\xa9", b"?"], ["é"]) == ["caf", "", "", "", ""]


def test_an_answer_that_is_only_a_stop_string_is_empty() -> None:
    """Nothing at all is shown, and it counts as stopped."""
    stream = TextStream(["\n"])
    assert stream.push(b"\n") == ""
    assert stream.stopped_by == "\n"
