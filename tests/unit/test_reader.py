"""Answers are taken apart as their model family writes them: content, reasoning, calls.

The texts are in the manner of public models' answers. That no cutting changes what comes out is
`properties/test_reader_cuts.py`.
"""

import itertools

import pytest

from modelrouter.chat.calls import CallReader, JsonCalls, ListedCalls, TaggedCalls
from modelrouter.chat.families import LISTED, LLAMA, PLAIN, TAGGED, Family
from modelrouter.chat.reader import AnswerReader, Part
from modelrouter.tools import ToolCall

PARIS = '{"city":"Paris"}'


def read(family: Family | None, *texts: str, begun: str = "") -> Part:
    """Return what comes of an answer in these pieces."""
    ids = itertools.count(1)
    reader = AnswerReader(family, begun, lambda: f"id{next(ids)}")
    parts = [*map(reader.push, texts), reader.finish()]
    return Part(
        "".join(part.text for part in parts),
        "".join(part.reasoning for part in parts),
        tuple(call for part in parts for call in part.calls),
    )


def calls(*named: tuple[str, str]) -> tuple[ToolCall, ...]:
    """Return calls with the ids that `read` gives."""
    return tuple(ToolCall(f"id{n}", name, given) for n, (name, given) in enumerate(named, 1))


ASK_WEATHER = '{"name": "weather", "arguments": {"city": "Paris"}}'
ASK_TIME = '{"name": "time", "arguments": {}}'
LLAMA_ASKS = '{"name":"weather","parameters":{"city":"Paris"}}'
WEATHER = calls(("weather", PARIS))
TWO = calls(("weather", PARIS), ("time", "{}"))


@pytest.mark.parametrize(
    ("family", "answer", "expected"),
    [
        (None, "Hello\n", Part("Hello\n")),
        (None, "  Hello", Part("  Hello")),
        (None, "", Part()),
        (None, "a <tool_call> b", Part("a <tool_call> b")),
        (None, "<think>\nHm.\n</think>\n\nYes.", Part("Yes.", "Hm.")),
        (None, "\n<think></think>Yes.", Part("Yes.")),
        (None, "<think>a\n\nb < c</think> d", Part("d", "a\n\nb < c")),
        (None, "<think>never done ", Part("", "never done")),
        (None, "No <think>x</think>", Part("No <think>x</think>")),
        (None, "<thin", Part("<thin")),
        (
            TAGGED,
            '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
            Part(calls=WEATHER),
        ),
        (
            TAGGED,
            f"Yes\n\n<tool_call>{ASK_WEATHER}</tool_call>\n<tool_call>\n{ASK_TIME}\n</tool_call>\n",
            Part("Yes", calls=TWO),
        ),
        (
            TAGGED,
            '<think>Which?</think>\n<tool_call>\n{"name":"weather","arguments":{"city":"Paris"}}',
            Part(reasoning="Which?", calls=WEATHER),
        ),
        (
            TAGGED,
            '<tool_call>{"name": "say", "arguments": {"text": "</tool_call> \\"}\\""}}</tool_call>',
            Part(calls=calls(("say", '{"text":"</tool_call> \\"}\\""}'))),
        ),
        (TAGGED, "<tool_call>no JSON</tool_call>", Part("<tool_call>no JSON</tool_call>")),
        (TAGGED, 'a\n<tool_call>{"name": 5}', Part('a\n<tool_call>{"name": 5}')),
        (TAGGED, '<tool_call>{"name": "x", "argu', Part('<tool_call>{"name": "x", "argu')),
        (TAGGED, "a < b <tool", Part("a < b <tool")),
        (TAGGED, '{"name": "x", "arguments": {}}', Part('{"name": "x", "arguments": {}}')),
        (
            LISTED,
            f"[TOOL_CALLS][{ASK_WEATHER}, {ASK_TIME}]",
            Part(calls=TWO),
        ),
        (LISTED, 'Well. [TOOL_CALLS]weather[ARGS]{"city": "Paris"}', Part("Well.", calls=WEATHER)),
        (
            LISTED,
            '[TOOL_CALLS]weather[CALL_ID]a1[ARGS]{"city":"Paris"}[TOOL_CALLS]time[ARGS]{}',
            Part(calls=TWO),
        ),
        (LISTED, "[TOOL_CALLS] weather?", Part("[TOOL_CALLS] weather?")),
        (LISTED, "[TOOL_CALLS]" + "a" * 300, Part("[TOOL_CALLS]" + "a" * 300)),
        (LISTED, "[TOOL_CALLS][]", Part("[TOOL_CALLS][]")),
        (LLAMA, '{"name": "weather", "parameters": {"city": "Paris"}}', Part(calls=WEATHER)),
        (
            LLAMA,
            '<|python_tag|>{"name":"weather","parameters":{"city":"Paris"}}',
            Part(calls=WEATHER),
        ),
        (LLAMA, "<|python_tag|>print(5)", Part("<|python_tag|>print(5)")),
        (LLAMA, '{"name": "weather"}', Part('{"name": "weather"}')),
        (
            LLAMA,
            'It is {"name": "x", "parameters": {}}',
            Part('It is {"name": "x", "parameters": {}}'),
        ),
        (PLAIN, '\n{"name": "time", "arguments": "{}"}', Part(calls=calls(("time", "{}")))),
        (PLAIN, "{broken", Part("{broken")),
        (PLAIN, "{5}", Part("{5}")),
        (PLAIN, "[1, 2]", Part("[1, 2]")),
    ],
)
def test_an_answer_is_taken_apart(family: Family | None, answer: str, expected: Part) -> None:
    """Calls and reasoning are found where the family puts them; all other text stays."""
    assert read(family, answer) == expected


def test_reasoning_that_the_prompt_began() -> None:
    """Where the template opens the reasoning, the answer only closes it."""
    assert read(None, "Hm.</think>Yes", begun="<think>") == Part("Yes", "Hm.")


def test_a_call_that_the_prompt_began() -> None:
    """Where a call must come, its opening stands in the prompt."""
    assert read(TAGGED, ASK_WEATHER, begun="<tool_call>\n") == Part(calls=WEATHER)
    assert read(LISTED, f"[{ASK_WEATHER}]", begun="[TOOL_CALLS]") == Part(calls=WEATHER)


def test_text_before_a_call_is_not_held_back() -> None:
    """Words are shown at once; a call is held until it is whole."""
    reader = AnswerReader(TAGGED, "", lambda: "id1")
    assert reader.push("I look").text == "I look"
    assert reader.push(" it up.\n<tool").text == " it up."
    assert reader.push('_call>{"name": "weather", "arguments": {}').calls == ()
    assert reader.push("}</tool_call>").calls == (ToolCall("id1", "weather", "{}"),)


@pytest.mark.parametrize(
    ("reader", "head", "body"),
    [
        (JsonCalls, "", ASK_WEATHER),
        (TaggedCalls, "", f" {ASK_WEATHER}"),
        (ListedCalls, "[", f"{ASK_WEATHER}]"),
        (ListedCalls, "weather[ARGS]", '{"city": "a\\"}{"}'),
    ],
)
def test_a_call_is_looked_at_once(reader: type[CallReader], head: str, body: str) -> None:
    """Letter by letter, what was looked at may be gone by the next: brackets in its place, which
    would end the call or be none, are not seen.
    """
    calls = reader()
    for length in range(len(body)):
        seen = head + "]" * (length - 1) + body[max(0, length - 1) : length]
        assert calls.read(seen, is_last=False) is None
    found = calls.read(head + body, is_last=True)
    assert found is not None
    assert found.calls[0][0] == "weather"


def test_blanks_behind_a_call_are_looked_at_once() -> None:
    """A model may write nothing else for a long time; the call itself is not read again either."""
    calls = TaggedCalls()
    assert calls.read(ASK_WEATHER, is_last=False) is None
    for blanks in range(1, 5):
        gone = "]" * (len(ASK_WEATHER) + blanks - 1)
        assert calls.read(f"{gone} ", is_last=False) is None
    whole = f"{ASK_WEATHER}    </tool_call>"
    assert calls.read(whole, is_last=False) == ((("weather", PARIS),), len(whole))


def test_what_is_no_call_is_let_go_at_once() -> None:
    """A list that is an answer waits only until it is seen not to be one of calls."""
    reader = AnswerReader(PLAIN, "", lambda: "id1")
    assert reader.push("[1,").text == ""
    assert reader.push(" 2] and").text == "[1, 2] and"
    assert reader.push(" more").text == " more"
