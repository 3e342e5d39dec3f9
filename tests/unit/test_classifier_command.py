"""`modelrouter classifier`, as people run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `modelrouter classifier ARGUMENTS`."""
    command = [sys.executable, "-m", "modelrouter", "classifier", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """Return prompts of two fields that are neither code nor general."""
    words = {"baking": "knead the dough", "garden": "prune the roses"}
    lines = [
        {"text": f"{text} {run}", "label": label, "kind": "plain", "lang": "en", "run": str(run)}
        for label, text in words.items()
        for run in range(20)
    ]
    file = tmp_path / "recipes.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return file


def test_a_classifier_of_ones_own_is_trained_and_evaluated(tmp_path: Path, recipes: Path) -> None:
    """What `train` writes, `eval` reads; the figures are named after the fields."""
    pytest.importorskip("sklearn", reason="scikit-learn comes with modelrouter[training]")
    trained = run("train", recipes, "--out", tmp_path / "mine")
    assert trained.stdout.endswith(f"written to {tmp_path / 'mine'}\n")
    done = run("eval", recipes, "--classifier", tmp_path / "mine", "--json")
    [figures] = json.loads(done.stdout)
    assert {key: figures[key] for key in ("file", "n", "accuracy", "false_baking")} == {
        "file": "recipes.jsonl",
        "n": 40,
        "accuracy": 1.0,
        "false_baking": 0.0,
    }


def test_the_shipped_classifier_refuses_fields_it_does_not_know(recipes: Path) -> None:
    """Exit code 2, what is wrong, and what the fields are."""
    done = run("eval", recipes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        'error: labels that the classifier does not know: "baking" in recipes.jsonl, '
        '"garden" in recipes.jsonl\n'
        "hint: its fields are code, general\n"
    )


@pytest.mark.parametrize("command", ["train", "eval"])
def test_bad_lines_are_named(tmp_path: Path, command: str) -> None:
    """Each mistake has its file and line, and nothing is written."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text(
        '{"text": "a"}\n{"text": "b", "label": "code", "kind": "plain", "run": "r"}\n[]\n'
    )
    out = ("--out", tmp_path / "out") if command == "train" else ()
    done = run(command, bad, *out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f'error: {bad}:1: missing key "label"\n'
        f"{bad}:3: expected an object, got list\n"
        'hint: a line is {"text", "label", "kind", "lang", "run"}; nothing was written\n'
    )
    assert not (tmp_path / "out").exists()
