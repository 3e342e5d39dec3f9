"""llama.cpp's grammars: what they allow here is what they mean there, and mistakes have a line.

A grammar is tried on a vocabulary of single bytes, so nothing depends on a model.
"""

import pytest
from byte_vocabulary import END, accepts

from modelrouter.engine.gbnf import to_lark
from modelrouter.errors import RequestError
from modelrouter.formats import AnswerFormat


def allows(grammar: str, text: str) -> bool:
    """Tell whether the text is a whole answer of the grammar."""
    return accepts(AnswerFormat("gbnf", grammar), [*text.encode(), END])


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        ('root ::= "yes" | "no"', ["yes", "no"], ["", "y", "yesno"]),
        ('root ::= [a-z]+ "a" "c"', ["hellac", "aac"], ["hello", "ac!"]),
        ('root ::= "a"{2,3}', ["aa", "aaa"], ["a", "aaaa"]),
        ('root ::= "a"{2}', ["aa"], ["a", "aaa"]),
        ('root ::= "a"{2,}', ["aa", "aaaaaa"], ["a"]),
        ('root ::= ("ab")* c?\nc ::= "c"', ["", "abab", "c"], ["a", "cc"]),
        ('root ::= "ab"+', ["ab", "abab"], ["abb"]),
        ("root ::= [^a-c]", ["d", "\n", "é"], ["a", "b"]),
        ("root ::= .", ["d", "\n", "🦙"], ["", "dd"]),
        (r'root ::= "\"\\\n\x41\u00e9"', ['"\\\nAé'], ["x"]),
        (r"root ::= [\]\-x]", ["]", "-", "x"], ["\\"]),
        ("root ::= [a-]", ["a", "-"], ["b"]),
        ('root ::= a | b # which?\na ::= "x"\n\nb ::=\n  "y" |\n  "z"', ["x", "y", "z"], ["a"]),
        ('root ::= root "a" | "a"', ["a", "aaa"], [""]),
        ('root ::= "a" | ', ["a", ""], ["b"]),
        ('root ::= ("a" | )  "b"', ["ab", "b"], ["a"]),
        ('root ::= "" "a"', ["a"], [""]),
        ('root ::= foo-Bar foo_bar\nfoo-Bar ::= "1"\nfoo_bar ::= "2"', ["12"], ["11"]),
        (
            'root ::= "a" ws "b"\nws ::= | " " | "\\n" [ \\t]{0,20}',
            ["ab", "a b", "a\n\t b"],
            ["a  b"],
        ),
    ],
)
def test_a_grammar_means_what_it_means_to_llama_cpp(
    grammar: str, good: list[str], bad: list[str]
) -> None:
    """All its answers are allowed, and no others."""
    assert [text for text in good if not allows(grammar, text)] == []
    assert [text for text in bad if allows(grammar, text)] == []


@pytest.mark.parametrize(
    ("grammar", "said"),
    [
        ("", 'the grammar has no rule "root"'),
        ('rot ::= "a"', 'the grammar has no rule "root"'),
        ('"a"', 'the grammar, line 1: expected a rule, `name ::= ...`, got "a"'),
        ('root ::= "a"\nroot ::= "b"', 'the grammar, line 2: rule "root" stands there twice'),
        ('root ::=\n  "a" thing', 'the grammar, line 2: there is no rule "thing"'),
        ('root ::= "a', "the grammar, line 1: cannot read '\"a'"),
        ("root ::= [a", "the grammar, line 1: cannot read '[a'"),
        ('root ::= ("a"', "the grammar, line 1: a group is not closed"),
        ('root ::= "a")', "the grammar, line 1: ) stands where no group is open, or too many are"),
        ("root ::= " + "(" * 65, "the grammar, line 1: ( stands where no group is open, or too ma"),
        ("root ::= *", "the grammar, line 1: * has nothing before it to repeat"),
        ('root ::= "a"{2001}', "the grammar, line 1: {2001} repeats more than 2,000 times"),
        ('root ::= "a"{3,2}', "the grammar, line 1: {3,2} ends below its beginning"),
        ("root ::= [z-a]", "the grammar, line 1: z-a ends before it begins"),
        (r'root ::= "\q"', r"the grammar, line 1: \q is no escape"),
        (r'root ::= "\ud800"', r"the grammar, line 1: \ud800 is no character"),
        ("root ::= <[1000]>", "the grammar, line 1: cannot read '<[1000]>'"),
        ("root ::= a\0", "the grammar, line 1: cannot read '\\x00'"),
    ],
)
def test_a_mistake_is_told_with_its_line(grammar: str, said: str) -> None:
    """Nothing is guessed: what cannot be read is refused."""
    with pytest.raises(RequestError) as caught:
        to_lark(grammar)
    assert caught.value.message.startswith(said)
