"""Answers held to a form: what is refused before any work, and that hostile forms find an end."""

import json
from typing import Any

import pytest
from byte_vocabulary import END, accepts, constraint, wander

from modelrouter.engine.constraint import compiled
from modelrouter.errors import RequestError
from modelrouter.formats import ANY_OBJECT, MOST_BYTES, AnswerFormat

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["red", 'gr"een\\']}, "maxItems": 2},
        "home": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/place"}]},
    },
    "required": ["name", "age", "tags", "home"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["zip"],
            "additionalProperties": False,
        }
    },
}


def nested(depth: int) -> dict[str, Any]:
    """Return a schema that nests so deep, and two levels more: its last one, and a value in it."""
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_drawn_fits_the_schema(seed: int) -> None:
    """Tokens drawn blindly among the allowed ones still make what the schema asks for."""
    text = wander(AnswerFormat.of_schema(PERSON), seed, 2000)
    assert text is not None
    person = json.loads(text)
    assert list(person) == ["name", "age", "tags", "home"]
    assert len(person["name"]) <= 8
    assert 0 <= person["age"] <= 120
    assert len(person["tags"]) <= 2
    assert set(person["tags"]) <= {"red", 'gr"een\\'}
    assert person["home"] is None or person["home"]["zip"].isdigit()


def test_any_object_is_an_object() -> None:
    """`json_object` allows objects of any kind, and nothing else."""
    for text in ("{}", '{"a": [1, {"b": null}], "c": "é"}', '{\n  "a": 1\n}'):
        assert accepts(ANY_OBJECT, [*text.encode(), END])
    for text in ("[]", "5", '"a"', "{'a': 1}", " \n\n {}"):
        assert not accepts(ANY_OBJECT, [*text.encode(), END])


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "the JSON schema cannot be used: Invalid type: strin"),
        ({"not": {"type": "null"}}, 'the JSON schema cannot be used: Unimplemented keys: ["not"]'),
        (
            {"type": "integer", "minimum": 5, "maximum": 3},
            "the JSON schema cannot be used: Unsatis",
        ),
        (
            {"type": "string", "pattern": "(?=a)b"},
            "the JSON schema cannot be used: regex parse err",
        ),
        ({"$ref": "https://example.com/a.json"}, "the JSON schema cannot be used: Resource 'https"),
        ({"$ref": "#/$defs/none"}, "the JSON schema cannot be used: "),
        ({"type": "integer", "maximum": 10**400}, "the JSON schema cannot be used: "),
        (False, "a JSON schema is an object, got false"),
        (5, "a JSON schema is an object, got 5"),
        (None, "a JSON schema is an object, got null"),
        (nested(63), "the JSON schema nests deeper than 64 levels"),
        ({"enum": ["x" * MOST_BYTES]}, "the JSON schema has 65,549 bytes; it may have 65,536"),
    ],
)
def test_a_schema_that_cannot_be_kept_is_refused(schema: Any, said: str) -> None:
    """Nothing of a schema is passed over in silence: what has no grammar is named."""
    with pytest.raises(RequestError) as caught:
        compiled(AnswerFormat.of_schema(schema))
    assert caught.value.message.startswith(said)


HOSTILE_SCHEMAS: dict[str, Any] = {
    "a loop of references": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a loop of two ways": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}},
    },
    "references that double": {
        "$ref": "#/$defs/d0",
        "$defs": {
            **{f"d{n}": {"prefixItems": [{"$ref": f"#/$defs/d{n + 1}"}] * 10} for n in range(20)},
            "d20": {"type": "null"},
        },
    },
    "products of choices": {
        "allOf": [{"anyOf": [{"properties": {f"x{n}{m}": {}}} for m in range(8)]} for n in range(8)]
    },
    "two kinds of one beginning": {
        "$ref": "#/$defs/n",
        "$defs": {
            "n": {
                "anyOf": [
                    {"properties": {"a": {"$ref": "#/$defs/n"}, end: {}}, "required": ["a", end]}
                    for end in "bcdef"
                ]
            }
        },
    },
    "a long text": {"type": "string", "minLength": 10**9},
    "a long list": {"type": "array", "items": {}, "minItems": 10**9},
    "a pattern of patterns": {"type": "string", "pattern": "^(a{1000}){1000}$"},
    "a pattern that guesses": {"type": "string", "pattern": "(a|b)*a(a|b){500}c"},
    "many ways of a pattern": {"type": "string", "pattern": "^(.*a.{20}|.*b.{20}|.*c.{20})$"},
    "a deep pattern": {"type": "string", "pattern": "(" * 2000 + "a" + ")" * 2000},
    "a large choice": {"enum": [f"{n:06}" for n in range(6000)]},
    "many properties": {"properties": {f"p{n}": {} for n in range(1500)}},
    "as deep as may be": nested(62),
}
HOSTILE_GRAMMARS = {
    "two ways of everything": 'root ::= root root | "a" | "aa"',
    "two ends of one beginning": 'root ::= "a" root "b" | "a" root "c" | "x"',
    "nothing, for ever": 'root ::= root root | ""',
    "repeats of repeats": 'root ::= (("a"?){2000}){2000}',
    "rules that double": "root ::= r0\n"
    + "".join(f"r{n} ::= r{n + 1} r{n + 1}\n" for n in range(60))
    + 'r60 ::= "a"?',
    "no character at all": r"root ::= [^\x00-\U0010FFFF]",
}
HOSTILE_FORMS = {name: AnswerFormat.of_schema(schema) for name, schema in HOSTILE_SCHEMAS.items()}
HOSTILE_FORMS |= {name: AnswerFormat("gbnf", text) for name, text in HOSTILE_GRAMMARS.items()}
FATES = {
    "a loop of references": "broken off",
    "a loop of two ways": "broken off",
    "references that double": "goes on",
    "products of choices": "refused",
    "two kinds of one beginning": "goes on",
    "a long text": "goes on",
    "a long list": "goes on",
    "a pattern of patterns": "broken off",
    "a pattern that guesses": "goes on",
    "many ways of a pattern": "whole",
    "a deep pattern": "refused",
    "a large choice": "whole",
    "many properties": "broken off",
    "as deep as may be": "goes on",
    "two ways of everything": "whole",
    "two ends of one beginning": "whole",
    "nothing, for ever": "whole",
    "repeats of repeats": "whole",
    "rules that double": "whole",
    "no character at all": "broken off",
}


def fate(form: AnswerFormat) -> str:
    """Return what becomes of an answer of this form in its first 400 tokens."""
    try:
        answer = constraint(form)
    except RequestError:
        return "refused"
    try:
        for number in range(400):
            allowed = answer.allowed()
            wanted = [token for token in b'{"a:[,xbc' if token in allowed]
            answer.accept(wanted[number % len(wanted)] if wanted else int(allowed[0]))
            if END in answer.allowed():
                return "whole"
    except RequestError:
        return "broken off"
    return "goes on"


@pytest.mark.parametrize("name", HOSTILE_FORMS)
def test_a_hostile_form_finds_an_end(name: str) -> None:
    """It is refused, or breaks the answer off with a word, or goes on token by token: it never
    holds anybody up (the test's time limit) and never takes the process down.
    """
    assert fate(HOSTILE_FORMS[name]) == FATES[name]


def test_the_end_comes_only_where_the_answer_is_whole() -> None:
    """Half an object cannot be left."""
    answer = constraint(ANY_OBJECT)
    for byte in b'{"a":1':
        assert END not in answer.allowed()
        answer.accept(byte)
    answer.accept(ord("}"))
    assert answer.allowed().tolist() == [END]


def test_what_is_not_allowed_is_not_taken() -> None:
    """A token against the grammar is an error, not a guess."""
    answer = constraint(ANY_OBJECT)
    with pytest.raises(RequestError, match="the answer cannot be held to its form"):
        answer.accept(ord("x"))
