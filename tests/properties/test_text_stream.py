"""Any bytes, cut anywhere, with any stop strings, give the text that one look at the whole gives.

`expected` is that look: decode everything, find the stop string that is complete first.
"""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.engine.text import TextStream

# Few letters, so that stop strings are hit; some of several bytes, so that cuts fall inside them.
letters = st.sampled_from("abé🦙\n")
texts = st.text(letters, max_size=30)
sound = texts.map(str.encode)
broken = st.binary(max_size=20)
stops = st.lists(st.text(letters, min_size=1, max_size=4), max_size=3)


def expected(data: bytes, stop: list[str]) -> str:
    """Return the text before the stop string whose last character comes first."""
    text = data.decode(errors="replace")
    for end in range(len(text) + 1):
        complete = [len(each) for each in stop if text[:end].endswith(each)]
        if complete:
            return text[: end - max(complete)]
    return text


@st.composite
def cut(draw: st.DrawFn, answers: st.SearchStrategy[bytes] = sound | broken) -> list[bytes]:
    """Draw an answer's bytes in pieces, as tokens bring them; control tokens bring none."""
    data = draw(answers)
    places = draw(st.lists(st.integers(0, len(data)), max_size=12).map(sorted))
    return [data[start:end] for start, end in pairwise([0, *places, len(data)])]


@given(cut(), stops)
def test_the_text_does_not_depend_on_the_cutting(chunks: list[bytes], stop: list[str]) -> None:
    """The same bytes give the same text in whatever tokens they come."""
    stream = TextStream(stop)
    text = "".join([*map(stream.push, chunks), stream.finish()])
    assert text == expected(b"".join(chunks), stop)


@given(cut(), stops)
def test_what_is_shown_is_never_taken_back(chunks: list[bytes], stop: list[str]) -> None:
    """At every moment the text shown is a beginning of the whole answer's."""
    stream, text = TextStream(stop), ""
    whole = expected(b"".join(chunks), stop)
    for chunk in chunks:
        text += stream.push(chunk)
        assert whole.startswith(text)


@given(cut(sound), stops)
def test_no_more_is_held_than_must_be(chunks: list[bytes], stop: list[str]) -> None:
    """What is held could still become a stop string or is less than a character."""
    stream, text, data = TextStream(stop), "", b""
    for chunk in chunks:
        data += chunk
        text += stream.push(chunk)
        if stream.stopped_by is not None:
            return
        held = data.decode(errors="ignore")[len(text) :]
        assert not held or any(each.startswith(held) for each in stop)


@given(cut(sound), stops)
def test_stopped_says_whether_a_stop_string_came(chunks: list[bytes], stop: list[str]) -> None:
    """It is true exactly where the whole text holds one."""
    stream = TextStream(stop)
    for chunk in chunks:
        stream.push(chunk)
    text = b"".join(chunks).decode()
    assert (stream.stopped_by in stop) == any(each in text for each in stop)
