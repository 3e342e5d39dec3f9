"""However an answer's text is cut into tokens, the same content, reasoning and calls come out."""

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.chat.families import LISTED, LLAMA, PLAIN, TAGGED, Family
from modelrouter.chat.reader import AnswerReader, Part

CALL = '{"name": "f", "arguments": {"a": "}\\"</tool_call>"}}'
scraps = st.sampled_from(
    [
        *("<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]"),
        *("[CALL_ID]", "<|python_tag|>", CALL, f"[{CALL}, {CALL}]", '{"name": "g"}', "f", "{}"),
        *(" ", "\n", "a", "<", "[", "]", "{", "}", '"', "\\", "é🦙", "b c "),
    ]
)
answers = st.lists(scraps, max_size=10).map("".join)


@st.composite
def cut(draw: st.DrawFn) -> list[str]:
    """Draw an answer in pieces."""
    answer = draw(answers)
    places = draw(st.lists(st.integers(0, len(answer)), max_size=12).map(sorted))
    return [answer[start:end] for start, end in pairwise([0, *places, len(answer)])]


def read(family: Family | None, begun: str, texts: list[str]) -> tuple[Part, list[Part]]:
    """Return all that comes of an answer in these pieces, and what each push gave."""
    ids = count()
    reader = AnswerReader(family, begun, lambda: str(next(ids)))
    parts = [*map(reader.push, texts), reader.finish()]
    whole = Part(
        "".join(part.text for part in parts),
        "".join(part.reasoning for part in parts),
        tuple(call for part in parts for call in part.calls),
    )
    return whole, parts


@pytest.mark.parametrize("family", [None, TAGGED, LISTED, LLAMA, PLAIN], ids=str)
@given(texts=cut(), begun=st.sampled_from(["", "<think>", "<tool_call>\n"]))
def test_no_cut_changes_what_comes_out(family: Family | None, texts: list[str], begun: str) -> None:
    """One push of the whole text and many of its pieces say the same."""
    in_pieces, _ = read(family, begun, texts)
    at_once, _ = read(family, begun, ["".join(texts)])
    assert in_pieces == at_once


@pytest.mark.parametrize("family", [None, TAGGED, LISTED, LLAMA, PLAIN], ids=str)
@given(texts=cut())
def test_no_letter_is_lost(family: Family | None, texts: list[str]) -> None:
    """Where no call and no reasoning is found, the text comes out as it went in."""
    whole, _ = read(family, "", texts)
    if not whole.calls and "<think>" not in "".join(texts):
        assert whole.text == "".join(texts)
