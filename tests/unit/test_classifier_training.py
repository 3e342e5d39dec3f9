"""Training: the same features as serving, the same bytes each time, bad data clearly refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from modelrouter.classifier import Classifier
from modelrouter.classifier.artifact import read_artifact
from modelrouter.classifier.dataset import part_of, read_sources
from modelrouter.classifier.features import extract
from modelrouter.errors import ConfigError
from modelrouter.types import Message, Request

pytest.importorskip("sklearn", reason="scikit-learn comes with modelrouter[training]")

from modelrouter.classifier.training import main, to_matrix, train

OWN_PROMPTS = sorted((Path(__file__).parents[2] / "data" / "prompts").glob("*.jsonl"))


def line(text: str, label: str, run: str = "a", kind: str = "plain") -> str:
    """Return one line of a data file."""
    return json.dumps({"text": text, "label": label, "kind": kind, "lang": "en", "run": run})


def write(file: Path, lines: Sequence[str]) -> Path:
    """Write lines to a file and return it."""
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def three_fields(tmp_path: Path) -> Path:
    """Return a small data file of three fields, with rows in every part."""
    words = {"code": "compile the function", "law": "sue the tenant", "food": "bake the bread"}
    rows = [
        line(f"{text} {number} {run}", label, run=run)
        for label, text in words.items()
        for run in map(str, range(20))
        for number in ("one", "two")
    ]
    return write(tmp_path / "three.jsonl", rows)


def test_training_and_serving_compute_the_same(tmp_path: Path, three_fields: Path) -> None:
    """The scores of the training matrix are the scores of the loaded classifier."""
    train([three_fields], tmp_path / "out")
    artifact = read_artifact(tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out")
    texts = [row.text for row in read_sources([three_fields])[0].rows[::7]]
    texts += ["?", "def f():\n\treturn 1", "说中文\n" * 3000, "🙂 ok"]
    logits = to_matrix(map(extract, texts)) @ artifact.weights.T + artifact.bias
    for text, row in zip(texts, logits, strict=True):
        served = classifier.predict(Request((Message("user", text), Message("assistant", "ok"))))
        expected = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        assert list(served.scores.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Equal data on equal libraries: the artifact can be rebuilt bit for bit."""
    for out in ("first", "second"):
        train(OWN_PROMPTS[:8], tmp_path / out)
    for name in ("weights.npz", "manifest.json"):
        first, second = (tmp_path / out / name for out in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_any_set_of_fields_can_be_trained(tmp_path: Path, three_fields: Path) -> None:
    """Fields are whatever the labels say; each is told from the others."""
    report = train([three_fields], tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out")
    assert report.accuracy == 1.0
    assert classifier.fields == ("code", "food", "law")
    prediction = classifier.predict(Request((Message("user", "please bake the bread"),)))
    assert prediction.field == "food"
    assert prediction.features[0].weight > 0


def test_a_classifier_without_a_code_field_reads_completions(tmp_path: Path) -> None:
    """Only where a field is called code are completions code by their kind."""
    rows = [
        line(f"{text} {run}", label, run=str(run))
        for label, text in {"law": "sue the tenant", "food": "bake the bread"}.items()
        for run in range(20)
    ]
    train([write(tmp_path / "two.jsonl", rows)], tmp_path / "out")
    request = Request((Message("user", "bake the bread"),), task="completion")
    assert Classifier.load(tmp_path / "out").predict(request).field == "food"


def test_bad_lines_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    """Every bad line of every file is reported at once, with its place and what is wrong."""
    bad = write(
        tmp_path / "bad.jsonl",
        [
            line("fine", "code"),
            "{",
            "[]",
            "",
            '{"text": "no label", "kind": "k", "run": "r"}',
            line("  ", "code"),
            '{"text": "t", "label": 3, "kind": "k", "run": "r"}',
            '{"text": "t", "label": "code", "kind": "k"}',
        ],
    )
    missing = tmp_path / "missing.jsonl"
    with pytest.raises(ConfigError) as caught:
        train([bad, missing], tmp_path / "out")
    assert [str(problem).replace(str(tmp_path), "DIR") for problem in caught.value.problems] == [
        "DIR/bad.jsonl:2: not JSON: Expecting property name enclosed in double quotes at column 2",
        "DIR/bad.jsonl:3: expected an object, got list",
        "DIR/bad.jsonl:4: not JSON: Expecting value at column 1",
        'DIR/bad.jsonl:5: missing key "label"',
        """DIR/bad.jsonl:6: "text" must be a text that is not blank, got '  '""",
        'DIR/bad.jsonl:7: "label" must be a text that is not blank, got 3',
        'DIR/bad.jsonl:8: missing key "run"',
        "DIR/missing.jsonl: cannot be read: No such file or directory",
    ]
    assert caught.value.message == "\n".join(map(str, caught.value.problems))
    assert not (tmp_path / "out").exists()


def test_one_field_is_not_enough(tmp_path: Path) -> None:
    """A classifier that knows one field has nothing to say."""
    file = write(tmp_path / "one.jsonl", [line("a", "code")])
    with pytest.raises(ConfigError) as caught:
        train([file], tmp_path / "out")
    assert caught.value.message == 'every prompt has the label "code"'


def test_a_part_without_a_field_is_refused(tmp_path: Path) -> None:
    """Without held-out prompts of every field the scores would mean nothing."""
    file = write(tmp_path / "two.jsonl", [line("a", "code"), line("b", "law")])
    with pytest.raises(ConfigError) as caught:
        train([file], tmp_path / "out")
    assert caught.value.message == 'no prompt of field "code" falls into the part "calibration"'


def test_a_group_keeps_its_part() -> None:
    """The held-out rule is fixed: published splits must not move."""
    groups = ["sql/sitting-5", "regex/sitting-1", "plain/sitting-1"]
    assert [part_of(group) for group in groups] == ["held_out", "calibration", "fit"]


def test_the_command_prints_a_report(
    tmp_path: Path, three_fields: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows for each field and part, then the held-out scores."""
    assert main([str(three_fields), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(
        "held out  18 prompts: accuracy 1.000, mean of files 1.000, ECE 0."
    )
    assert printed[-1] == "  1.000      18  plain"


def test_the_command_prints_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mistakes in the data go to standard error, with exit code 2 and no traceback."""
    file = write(tmp_path / "bad.jsonl", ["{}"])
    assert main([str(file), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f'error: {file}:1: missing key "text"\n'
        'hint: a line is {"text", "label", "kind", "lang", "run"}; nothing was written\n'
    )
