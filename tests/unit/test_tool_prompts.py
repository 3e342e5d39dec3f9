"""Tools, calls and their results in a prompt: as templates expect them, and never as control.

The template is a short one in the manner of the models that write `<tool_call>`.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.chat.families import LISTED, LLAMA, PLAIN, TAGGED, Family, family_of
from modelrouter.chat.preparing import Prepared, prepare
from modelrouter.engine.constraint import compiled
from modelrouter.engine.prompt import FIRST_STAND_IN, render_chat
from modelrouter.errors import RequestError
from modelrouter.formats import ANY_OBJECT
from modelrouter.generation import Piece
from modelrouter.registry import ChatFormat
from modelrouter.tools import Tool, Toolbox, ToolCall
from modelrouter.types import Message, Request

TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Call with <tool_call>.<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}
{%- if message.tool_call_id is defined %} ({{ message.name }} {{ message.tool_call_id }}){% endif %}
{%- if message.tool_calls is defined %}!{% endif %}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
CONTROLS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
CHAT = ChatFormat(TEMPLATE, "", "<|im_end|>", CONTROLS)
DEAF = ChatFormat("{% for m in messages %}{{ m.content }}{% endfor %}", "", "", CONTROLS)
THINKS = ChatFormat(TEMPLATE + "<think>\n", "", "<|im_end|>", CONTROLS)
WEATHER = Tool("weather", "Looks out", '{"type":"object","properties":{"city":{"type":"string"}}}')
TIME = Tool("time")
HI = (Message("user", "Hi"),)


def whole(pieces: tuple[Piece, ...]) -> str:
    """Return the prompt as one text."""
    return "".join(piece.text for piece in pieces)


def asked(chat: ChatFormat | None = CHAT, **request: object) -> Prepared:
    """Return a chat with both tools made ready."""
    wishes = {"toolbox": Toolbox((WEATHER, TIME))} | request
    wanted = Request(HI, **wishes)  # type: ignore[arg-type]
    form = wanted.answer_format
    return prepare(wanted, chat, None if form is None else compiled(form))


def test_a_conversation_with_tools() -> None:
    """Tools, calls and results stand where the template puts them."""
    talk = (
        Message("user", "Rain?"),
        Message("assistant", "", (ToolCall("a1", "weather", '{"city":"Köln"}'),)),
        Message("tool", "sun", tool_call_id="a1"),
    )
    assert whole(render_chat(CHAT, talk, (WEATHER,))) == (
        '<|im_start|>system\n{"type": "function", "function": {"name": "weather", '
        '"description": "Looks out", "parameters": {"type": "object", "properties": '
        '{"city": {"type": "string"}}}}}\nCall with <tool_call>.<|im_end|>\n'
        "<|im_start|>user\nRain?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n'
        "</tool_call>!<|im_end|>\n"
        "<|im_start|>tool\nsun (weather a1)<|im_end|>\n"
        "<|im_start|>assistant"
    )


spelled = st.lists(
    st.sampled_from([*CONTROLS, "<|im_", "end|>", chr(FIRST_STAND_IN), "a", '"', "\\", "\n"])
).map("".join)


@given(st.tuples(spelled, spelled, spelled, spelled, spelled, spelled))
def test_no_control_token_gets_in_by_a_tool(texts: tuple[str, ...]) -> None:
    """Whatever stands in a schema, an argument, a name, an id or a result is plain text."""
    description, key, value, result, call_id, name = texts
    schema = json.dumps({"properties": {key: {"enum": [value, {"deep": [result]}]}}})
    tools = (Tool("f", description, schema),)
    arguments = json.dumps({key: [value, {value: key}]})
    talk = (
        Message("user", value),
        Message("assistant", "", (ToolCall(call_id, name, arguments),)),
        Message("tool", result, tool_call_id=call_id),
    )
    # Each piece is tokenized by itself: what stands at the ends of two of them never meets.
    special = " ".join(piece.text for piece in render_chat(CHAT, talk, tools) if piece.special)
    assert special.count("<|im_start|>") == 5
    assert special.count("<|im_end|>") == 4
    assert "<|endoftext|>" not in special


@pytest.mark.parametrize(
    ("template", "family"),
    [
        ("{{ messages }}", None),
        ("my_tools toolset", None),
        ("{% if tools %}<tool_call>{% endif %}", TAGGED),
        ("{% if tools %}[AVAILABLE_TOOLS]...[TOOL_CALLS]{% endif %}", LISTED),
        ('{% if tools %}{"name": n, "parameters": p}{% endif %}', LLAMA),
        ("{% if tools %}<|python_tag|>{% endif %}", LLAMA),
        ("{% for tool in tools %}{{ tool }}{% endfor %}", PLAIN),
    ],
)
def test_the_template_tells_the_family(template: str, family: Family | None) -> None:
    """What its models write is what it says of calls itself."""
    assert family_of(template) is family


def test_tools_that_may_be_called() -> None:
    """The model is told of them, and its answer is read for calls, but free."""
    ready = asked()
    assert '"name": "weather"' in whole(ready.pieces)
    assert (ready.family, ready.grammar, ready.begun) == (TAGGED, None, "")
    assert "<tool_call>" in ready.spelled


def test_tools_that_may_not_be_called() -> None:
    """With `none` the model does not hear of them, and what looks like a call is text."""
    ready = asked(toolbox=Toolbox((WEATHER,), "none"))
    assert "weather" not in whole(ready.pieces)
    assert ready.family is None


def test_a_tool_that_must_be_called() -> None:
    """The prompt opens the call, and a grammar holds the rest to one of the tools."""
    ready = asked(toolbox=Toolbox((WEATHER, TIME), "required"))
    assert ready.pieces[-1] == Piece("<tool_call>\n", special=True)
    assert ready.begun == "<tool_call>\n"
    named = asked(toolbox=Toolbox((WEATHER, TIME), "required", "time"))
    assert ready.grammar is not None
    assert named.grammar is not None
    assert "weather" in ready.grammar
    assert "weather" not in named.grammar


def test_reasoning_that_the_template_opens() -> None:
    """A free answer goes on with it; one that is held to a form has it closed first."""
    assert asked(THINKS).begun == "<think>"
    held = asked(THINKS, toolbox=Toolbox(), answer_format=ANY_OBJECT)
    assert whole(held.pieces).endswith("<think>\n</think>\n\n")
    assert held.begun == ""
    forced = asked(THINKS, toolbox=Toolbox((TIME,), "required"))
    assert whole(forced.pieces).endswith("<think>\n</think>\n\n<tool_call>\n")


def test_a_user_cannot_open_the_reasoning() -> None:
    """What the prompt begins is what the template says, not what it repeats."""
    echo = ChatFormat("{{ messages[-1].content }}", "", "", ("<think>",))
    assert prepare(Request((Message("user", "<think>"),)), echo).begun == ""


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: Request(HI, toolbox=Toolbox((TIME,))),
        lambda: Request((*HI, Message("assistant", "", (ToolCall("a", "f", "{}"),)), *HI)),
        lambda: Request((*HI, Message("tool", "x", tool_call_id="a"))),
    ],
)
def test_a_model_that_knows_no_tools(request_of: object) -> None:
    """It is not asked as if there were none: the request is refused, with a way out."""
    assert callable(request_of)
    with pytest.raises(RequestError) as caught:
        prepare(request_of(), DEAF)
    assert caught.value.message == "the model's chat template knows no tools"
    assert prepare(Request(HI, toolbox=Toolbox((TIME,), "none")), DEAF).family is None


def test_a_completion_is_not_read() -> None:
    """Its text is all there is."""
    assert prepare(Request(HI, task="completion"), CHAT).reader() is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Tool("a b"),
            "a tool's name has 1 to 128 letters, digits and any of _.:/-, got 'a b'",
        ),
        (lambda: Tool.of("f", None, 5), "the parameters of the tool f are not a JSON schema"),
        (lambda: Toolbox((TIME, TIME)), "two tools have the same name"),
        (
            lambda: Toolbox((), "required"),
            "tool_choice wants a tool to be called, and there are no",
        ),
        (lambda: Toolbox((TIME,), "required", "x"), 'tool_choice names "x", which is none of the'),
        (
            lambda: Toolbox(tuple(Tool(f"t{n}") for n in range(129))),
            "129 tools are too many: 128 may be",
        ),
    ],
)
def test_tools_that_make_no_sense(make: object, said: str) -> None:
    """Each is refused with what is wrong."""
    assert callable(make)
    with pytest.raises(RequestError) as caught:
        make()
    assert caught.value.message.startswith(said)


def test_references_inside_parameters_still_hold() -> None:
    """A tool's schema may refer to itself, though it becomes a part of a larger one."""
    schema = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/place"}},
        "$defs": {"place": {"enum": ["here"]}},
    }
    tool = Tool.of("go", None, schema)
    form = TAGGED.forced_format((TIME, tool)).text
    assert '"$ref":"#/$defs/tool1/$defs/place"' in form
