"""Evaluation: the figures are what their names say, worked out by hand on a few prompts."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelrouter.classifier import Classifier
from modelrouter.classifier.dataset import read_sources
from modelrouter.classifier.evaluation import evaluate, evaluate_files, main

KEYS = ["file", "n", "accuracy", "macro_f1", "false_code", "false_general", "ece", "us_per_prompt"]

# What the shipped classifier says of these is beyond doubt, so a wrong label is a sure mistake.
CODE = ["def fizzbuzz(n):\n    for i in range(n):\n", "how do I undo a git push"]
GENERAL = ["How long should I boil an egg?", "Write a poem about the first snow."]


def write(file: Path, prompts: Sequence[tuple[str, str]], kind: str = "plain") -> Path:
    """Write (text, label) pairs to a file and return it."""
    file.write_text(
        "".join(
            json.dumps({"text": text, "label": label, "kind": kind, "lang": "en", "run": "r"})
            + "\n"
            for text, label in prompts
        )
    )
    return file


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Return a file of three code prompts, one of them labelled wrongly, and two general ones."""
    labels = ["code", "code", "general", "general", "code"]
    return write(
        tmp_path / "mixed.jsonl",
        list(zip([*CODE, *GENERAL, "What is the capital of Mongolia?"], labels, strict=True)),
    )


def test_the_figures_are_those_of_the_answers(mixed: Path) -> None:
    """Two of three code prompts and both general ones are told right."""
    [figures] = evaluate(Classifier.load(), read_sources([mixed])[0].rows)
    assert (figures.name, figures.n, figures.accuracy) == ("mixed.jsonl", 5, 0.8)
    assert figures.macro_f1 == pytest.approx((2 * 2 / (2 + 3) + 2 * 2 / (3 + 2)) / 2)
    assert figures.false == {"code": 0.0, "general": pytest.approx(1 / 3)}
    assert 0 < figures.ece < 1
    assert figures.us_per_prompt > 0


def test_json_has_an_object_for_each_file(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The keys are those of the documentation; a share of nothing is null."""
    code = write(tmp_path / "code.jsonl", [(text, "code") for text in CODE])
    assert main([str(mixed), str(code), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [list(each) for each in printed] == [KEYS, KEYS]
    assert [each["file"] for each in printed] == ["code.jsonl", "mixed.jsonl"]
    assert printed[0] | {"ece": 0, "us_per_prompt": 0} == {
        "file": "code.jsonl",
        "n": 2,
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "false_code": None,
        "false_general": 0.0,
        "ece": 0,
        "us_per_prompt": 0,
    }


def test_the_table_has_a_line_for_each_kind_and_the_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean counts every line alike, however many prompts it has."""
    code = write(tmp_path / "a.jsonl", [(text, "code") for text in CODE], kind="plain")
    wrong = write(tmp_path / "b.jsonl", [(GENERAL[0], "code")], kind="cooking")
    assert main([str(code), str(wrong), "--by", "kind"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| cooking", "1", "0.000"],
        ["| plain", "2", "1.000"],
        ["| mean", "3", "0.500"],
    ]


def test_disturbances_are_counted(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each disturbance has the share of decisions that survive it."""
    assert main([str(mixed), "--disturb"]) == 0
    shares = json.loads(capsys.readouterr().out)
    assert list(shares) == ["typos", "case", "wording"]
    assert shares["case"] == 1.0


def test_labels_that_are_no_field_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A classifier cannot be right about fields that it does not know."""
    law = write(tmp_path / "law.jsonl", [("sue the tenant", "law")])
    assert main([str(law)]) == 2
    assert capsys.readouterr().err == (
        'error: labels that the classifier does not know: "law" in law.jsonl\n'
        "hint: its fields are code, general\n"
    )


def test_no_prompts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty file has no accuracy, and is not passed over beside one that has."""
    none = write(tmp_path / "none.jsonl", [])
    some = write(tmp_path / "some.jsonl", [(CODE[0], "code")])
    assert main([str(some), str(none)]) == 2
    assert capsys.readouterr().err == "error: no prompts in none.jsonl\n"


def test_nothing_held_out_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all prompts are trained on there is nothing to judge by."""
    some = write(tmp_path / "some.jsonl", [(CODE[0], "code")])
    assert main([str(some), "--held-out"]) == 2
    assert capsys.readouterr().err == (
        "error: no prompts to evaluate on\nhint: --held-out leaves only some of a file\n"
    )


def test_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    """Two folders may each have a test.jsonl: each has figures of its own, in the order given."""
    for folder, prompts in {"b": CODE, "a": [CODE[0]]}.items():
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "test.jsonl", [(text, "code") for text in prompts])
    sources = read_sources([tmp_path / "b" / "test.jsonl", tmp_path / "a" / "test.jsonl"])
    found = evaluate_files(Classifier.load(), sources)
    assert [(each.name, each.n) for each in found] == [("test.jsonl", 2), ("test.jsonl", 1)]
