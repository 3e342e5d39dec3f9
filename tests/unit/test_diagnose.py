"""What diagnose says about a wrong TOML file, with shapes that belong to no real file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from modelrouter.diagnose import Document, Place, dotted, parse, read, validate
from modelrouter.errors import ConfigError, Problem


class Table(BaseModel):
    """Strict, as every shape that diagnose meets."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Plant(Table):
    """A table inside a list and inside a mapping."""

    height: int = Field(default=1, ge=1)
    colour: Literal["red", "green"] = "red"
    weight: float = Field(default=1, le=2.5)


class Garden(Table):
    """A whole file."""

    owner: str
    height: str = ""
    plants: Annotated[tuple[Plant, ...], Field(strict=False)] = ()
    named: Mapping[str, Plant] = {}


def problems_of(text: str) -> list[str]:
    """Return what is wrong with `text` as a garden."""
    return [str(problem) for problem in validate(Garden, parse(text, "garden.toml"))[1]]


def refusal(text: str) -> str:
    """Return the message with which `text` is refused as TOML."""
    with pytest.raises(ConfigError) as refused:
        parse(text, "garden.toml")
    assert [str(problem) for problem in refused.value.problems] == [refused.value.message]
    return refused.value.message


def test_a_sound_file_becomes_its_shape() -> None:
    """What is right comes out as the shape's values, and nothing is reported."""
    garden, problems = validate(Garden, parse('owner = "Ada"', "garden.toml"))
    assert (garden, problems) == (Garden(owner="Ada"), [])


def test_everything_is_reported_with_its_line() -> None:
    """All mistakes are told at once, each where its statement starts."""
    text = """
hight = 3
[[plants]]
height = 0
colour = "blue"
[[plants]]
weight = 2.75
[named.rose]
wieght = 1
"""
    assert problems_of(text) == [
        'garden.toml: missing key "owner"',
        "garden.toml:4: plants[0].height: must be at least 1, got 0",
        'garden.toml:5: plants[0].colour: expected "red" or "green", got "blue"',
        "garden.toml:7: plants[1].weight: must be at most 2.5, got 2.75",
        'garden.toml:9: named.rose.wieght: unknown key (did you mean "weight"?)',
        'garden.toml:2: hight: unknown key (did you mean "height"?)',
    ]


def test_an_entry_named_like_a_key_gets_the_right_suggestions() -> None:
    """A free name that is also a key elsewhere does not mislead the search for known keys."""
    text = 'owner = "Ada"\nnamed.height.colours = "red"'
    assert problems_of(text) == [
        'garden.toml:2: named.height.colours: unknown key (did you mean "colour"?)'
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("true", "true"),
        ("[1]", "a list"),
        ("{}", "an empty table"),
        ("{ a = 1 }", "a table"),
        ("1979-05-27", "1979-05-27"),
        ('"2"', '"2"'),
        (f'"{"x" * 61}"', f'"{"x" * 60}..."'),
    ],
)
def test_the_wrong_value_is_shown_as_the_file_writes_it(value: str, shown: str) -> None:
    """A message repeats the value in TOML's spelling, long texts cut and tables not at all."""
    assert problems_of(f'owner = "Ada"\nnamed.rose.height = {value}') == [
        f"garden.toml:2: named.rose.height: expected a whole number, got {shown}"
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = ~/x", 2, "this is not a value (text needs quotes; "),
        ("a = [\n1,\n2\nb = 3", 1, "unclosed array (noticed on line 4)"),
        ('a = """\nb = 1\n', 1, "the closing quote is missing"),
        ("a = 1\n\n# b\na = [\n2]", 4, "this key has a value already"),
        ("[a]\n[b]\n[a]", 3, "this table stands in the file already"),
        ("a = 1 2", 1, "something follows the value (text needs quotes around all of it)"),
        ("a = 1\n= 2", 2, "this starts no key, no [table] and no # comment"),
        ("a", 1, "expected '=' after a key in a key/value pair"),
        ("a = " + "[" * 5000, 1, "maximum recursion depth exceeded"),
    ],
)  # fmt: skip
def test_what_is_not_toml_is_refused_where_the_statement_starts(
    text: str, line: int, words: str
) -> None:
    """The parser's stumbles become a line and words that a person can act on."""
    assert refusal(text).startswith(f"garden.toml:{line}: not TOML: {words}")


def test_a_number_too_long_to_read_is_refused() -> None:
    """Python's limit on the digits of a number is a message, not a crash."""
    assert refusal("a = 1\nb = " + "1" * 5000).startswith("garden.toml:2: not TOML: exceeds the")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are refused by name."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'a = "x"\nb = "caf\xe9"\n')
    messages = []
    for path in (tmp_path / "none.toml", tmp_path, latin):
        with pytest.raises(ConfigError) as refused:
            read(path, path.name)
        messages.append(refused.value.message)
    assert messages == [
        "none.toml: cannot be read: No such file or directory",
        f"{tmp_path.name}: cannot be read: Is a directory",
        "latin.toml:2: not UTF-8 text: byte 0xe9 means nothing there",
    ]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Files saved by editors that mark UTF-8 are read like others, Windows line ends too."""
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    document = read(path, "marked.toml")
    assert (document.data, document.line_of(("b",))) == ({"a": 1, "b": 2}, 2)


def test_places_are_written_as_toml_writes_keys() -> None:
    """Keys that TOML would quote are quoted, positions stand in brackets."""
    assert dotted(("models", "qwen2.5", "use", 1)) == 'models."qwen2.5".use[1]'
    assert dotted(("rules", 0, 1)) == "rules[0][1]"
    assert dotted(()) == ""


def test_each_finds_every_place_of_a_pattern() -> None:
    """`...` stands for any key or position, and what is missing or no table is passed over."""
    document = parse("[[rules]]\nuse = ['a', 'b']\n[[rules]]\nuse = 'c'\n[[rules]]", "f")
    assert document.each("rules", ..., "use") == [
        (("rules", 0, "use"), ["a", "b"]),
        (("rules", 1, "use"), "c"),
    ]
    assert document.each("rules", ..., "use", ...) == [
        (("rules", 0, "use", 0), "a"),
        (("rules", 0, "use", 1), "b"),
    ]
    assert document.each("otherwise", "use", ...) == []


def test_a_problem_names_file_line_and_key() -> None:
    """A finding of one's own is told like pydantic's; one about the whole file has no line."""
    document = Document("f.toml", "\n\nuse = [\n  'a']", {"use": ["a"]})
    assert document.problem(("use", 0), "no such thing") == Problem(
        "f.toml", 3, "use[0]", "no such thing"
    )
    assert str(document.problem((), "too short")) == "f.toml: too short"


Value: TypeAlias = tuple[str, list[Place]]
Entry: TypeAlias = tuple[str, bool, Value]
Block: TypeAlias = tuple[str, str, list[Entry]]

VALUES: list[Value] = [
    ("1", [()]),
    ('"k0 = 1"', [()]),
    ('"""\nk0 = 1\n\n[t1]\n# """', [()]),
    ("'''\n[[rows]]\nk1 = '''", [()]),
    ("[\n  1,  # k1 = 1\n\n  [2,\n3],\n]", [(), (0,), (1,), (1, 0), (1, 1)]),
    ('[{ p = 1 }, "]",\n]', [(), (0,), (0, "p"), (1,)]),
    ('{ p = 1, q.r = ["x", "y"] }', [(), ("p",), ("q",), ("q", "r"), ("q", "r", 1)]),
]
"""Values and the places inside each; their texts would mislead a search for keys by spelling."""

PADDING = st.sampled_from(["", "\n", "# k0 = 1\n", "\n  # [t1]\n\n"])
ENTRIES = st.lists(st.tuples(PADDING, st.booleans(), st.sampled_from(VALUES)), max_size=3)
BLOCKS = st.lists(st.tuples(PADDING, st.sampled_from(["table", "row"]), ENTRIES), max_size=5)


class Writing:
    """A TOML text that notes, for every place in it, the line on which its statement starts."""

    def __init__(self, root: list[Entry], blocks: list[Block]) -> None:
        """Write entries before any table, then blocks: tables, or rows of one list of tables."""
        self.text = ""
        self.lines: dict[Place, int] = {}
        self._entries((), root)
        rows = 0
        for number, (padding, kind, entries) in enumerate(blocks):
            if kind == "row":
                place: Place = ("rows", rows)
                self._statement(padding, "[[rows]]", [("rows",), place])
                rows += 1
            else:
                place = (f"t{number}",)
                self._statement(padding, f"[t{number}]", [place])
            self._entries(place, entries)

    def _entries(self, table: Place, entries: list[Entry]) -> None:
        for number, (padding, is_dotted, (value, inside)) in enumerate(entries):
            top = (*table, f"k{number}")
            key = (*top, "d") if is_dotted else top
            written = f"k{number}.d = {value}" if is_dotted else f"k{number} = {value}"
            self._statement(padding, written, [top, *((*key, *deeper) for deeper in inside)])

    def _statement(self, padding: str, written: str, places: list[Place]) -> None:
        self.text += padding
        line = self.text.count("\n") + 1
        self.lines = dict.fromkeys(places, line) | self.lines
        self.text += f"{written}\n"


@settings(max_examples=50)
@given(root=ENTRIES, blocks=BLOCKS, newline=st.sampled_from(["\n", "\r\n"]))
def test_every_place_is_found_on_its_line(
    root: list[Entry], blocks: list[Block], newline: str
) -> None:
    """Whatever a file is made of, the line of a place is where its statement starts."""
    writing = Writing(root, blocks)
    document = parse(writing.text.replace("\n", newline), "any.toml")
    assert {place: document.line_of(place) for place in writing.lines} == writing.lines
