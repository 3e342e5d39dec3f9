"""Training: the same features as serving, the same bytes each time, bad data clearly refused."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from modelrouter.classifier import Classifier
from modelrouter.classifier.artifact import files_of, read_artifact
from modelrouter.classifier.dataset import Row, part_of, read_sources
from modelrouter.classifier.features import extract
from modelrouter.classifier.model import UNSURE
from modelrouter.classifier.scoring import Report
from modelrouter.errors import ConfigError
from modelrouter.types import Hole, Message, Request

pytest.importorskip("sklearn", reason="scikit-learn comes with modelrouter[training]")
pytest.importorskip("matplotlib", reason="matplotlib comes with modelrouter[training]")

from modelrouter.classifier.plot import reliability_plot
from modelrouter.classifier.training import row_weights, to_matrix, train

STEPS = [
    "reading",
    "features",
    "features of misspelt copies",
    "calibrating",
    "fitting",
    "writing",
]

OWN_PROMPTS = sorted((Path(__file__).parents[2] / "data" / "prompts").glob("*.jsonl"))


def line(text: str, label: str, run: str = "a", kind: str = "plain") -> str:
    """Return one line of a data file."""
    return json.dumps({"text": text, "label": label, "kind": kind, "lang": "en", "run": run})


def write(file: Path, lines: Sequence[str]) -> Path:
    """Write lines to a file and return it."""
    file.write_text("\n".join(lines) + "\n")
    return file


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, hidden ones too, by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def rows_of(file: str, label: str, count: int, *, is_found: bool) -> list[Row]:
    """Return rows of one file and label."""
    return [Row(file, "text", label, "plain", "en", file, is_found)] * count


@dataclass
class Trained:
    """What one training was given, wrote, returned and told of its steps."""

    file: Path
    folder: Path
    report: Report
    told: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def three_fields(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a training on 120 prompts of three fields, with rows in every part."""
    folder = tmp_path_factory.mktemp("three-fields")
    words = {"code": "compile the function", "law": "sue the tenant", "food": "bake the bread"}
    rows = [
        line(f"{text} {number} {run}", label, run=run)
        for label, text in words.items()
        for run in map(str, range(20))
        for number in ("one", "two")
    ]
    file = write(folder / "three.jsonl", rows)
    told: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOURCE_DATE_EPOCH", "1700000000")
        report = train([file], folder / "out", lambda *step: told.append(step))
    return Trained(file, folder / "out", report, told)


def test_training_and_serving_compute_the_same(three_fields: Trained) -> None:
    """The scores of the training matrix are the scores of the loaded classifier."""
    artifact = read_artifact(three_fields.folder)
    classifier = Classifier.load(three_fields.folder)
    texts = [row.text for row in read_sources([three_fields.file])[0].rows[::7]]
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
    first, second = (contents(tmp_path / out) for out in ("first", "second"))
    assert len(first) == 3
    assert first == second


def test_any_set_of_fields_can_be_trained(three_fields: Trained) -> None:
    """Fields are whatever the labels say; each is told from the others."""
    classifier = Classifier.load(three_fields.folder)
    assert three_fields.report.accuracy == 1.0
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
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.predict(request).field == "food"
    hole = Request(hole=Hole("bake the ", "bread"), task="completion")
    assert classifier.predict(hole).scores == classifier.predict(request).scores


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
    assert caught.value.message == 'no prompt of field "code" falls into the part "held_out"'


def test_a_group_keeps_its_part() -> None:
    """The held-out rule is fixed: published splits must not move."""
    groups = ["sql/sitting-5", "regex/sitting-1", "plain/sitting-1"]
    assert [part_of(group) for group in groups] == ["held_out", "first", "third"]


def test_the_report_tells_every_mix_up(three_fields: Trained) -> None:
    """Totals, the confusion of the fields, what a confidence is worth, files and kinds."""
    printed = str(three_fields.report).splitlines()
    assert printed[0].startswith(
        "held out  18 prompts: accuracy 1.000, mean of files 1.000, ECE 0."
    )
    assert printed[1:6] == [
        "confusion: rows are the true fields, columns what was said",
        "          code    food     law",
        "  code       6       0       0",
        "  food       0       6       0",
        "  law        0       0       6",
    ]
    assert printed[6:8] == ["by confidence", "  1.000      18  0.50 or more (100%)"]
    assert printed[-4:] == [
        "by file",
        "  1.000      18  three.jsonl",
        "by kind",
        "  1.000      18  plain",
    ]


def test_the_manifest_says_what_was_trained_and_how_well(three_fields: Trained) -> None:
    """Hashes of data, arrays and plot; libraries, thresholds, scores, confusion and a date."""
    manifest = json.loads((three_fields.folder / "manifest.json").read_text())
    assert manifest["date"] == "2023-11-14"
    assert manifest["sources"] == [
        {
            "file": "three.jsonl",
            "sha256": hashlib.sha256(three_fields.file.read_bytes()).hexdigest(),
            "rows": 120,
        }
    ]
    assert manifest["libraries"].keys() == {"matplotlib", "numpy", "scikit-learn", "scipy"}
    assert manifest["thresholds"]["unsure_below"] == UNSURE
    assert manifest["held_out"]["confusion"] == [[6, 0, 0], [0, 6, 0], [0, 0, 6]]
    assert manifest["held_out"]["ece"] == three_fields.report.ece
    plot = three_fields.folder / f"reliability-{manifest['plot_sha256'][:12]}.png"
    assert plot.read_bytes() == reliability_plot(three_fields.report)


def test_every_step_is_told(three_fields: Trained) -> None:
    """Steps come in their order; where prompts are counted, the count goes up to all of them."""
    assert list(dict.fromkeys(step for step, _, _ in three_fields.told)) == STEPS
    counts = [(done, total) for step, done, total in three_fields.told if step == "features"]
    assert counts == [(0, 120), (100, 120), (120, 120)]


def test_an_interrupted_training_changes_nothing(tmp_path: Path, three_fields: Trained) -> None:
    """Ctrl-C at any step leaves the folder with every byte it had, and makes no other."""
    before = contents(three_fields.folder)
    more = write(tmp_path / "more.jsonl", [line("till the soil", "code", run="b")])
    for last in STEPS:

        def interrupt(step: str, done: int, total: int, last: str = last) -> None:  # noqa: ARG001
            if step == last:
                raise KeyboardInterrupt

        out = tmp_path / "new" if last == "calibrating" else three_fields.folder
        with pytest.raises(KeyboardInterrupt):
            train([three_fields.file, more], out, interrupt)
    assert contents(three_fields.folder) == before
    assert not (tmp_path / "new").exists()


def test_a_training_takes_the_place_of_the_one_before(
    tmp_path: Path, three_fields: Trained
) -> None:
    """The new artifact is whole, the old one is gone, and other files stay as they are."""
    folder = Path(shutil.copytree(three_fields.folder, tmp_path / "out"))
    (folder / "notes.txt").write_text("mine")
    more = write(tmp_path / "more.jsonl", [line("till the soil", "code", run="b")])
    train([three_fields.file, more], folder)
    after = contents(folder)
    assert after.keys() == files_of(folder) | {"manifest.json", "notes.txt"}
    assert after["manifest.json"] != (three_fields.folder / "manifest.json").read_bytes()
    assert after["notes.txt"] == b"mine"
    assert Classifier.load(folder).fields == ("code", "food", "law")


def test_a_folder_that_cannot_be_is_refused_before_any_work(three_fields: Trained) -> None:
    """A file in the folder's place is found before a minute of training, not after."""
    file, told = three_fields.file, []
    with pytest.raises(ConfigError) as caught:
        train([file], file / "out", lambda step, *_: told.append(step))
    assert caught.value.message == f"{file / 'out'} cannot be a folder: {file} is a file"
    assert told == []


def test_a_large_file_of_found_prompts_does_not_drown_the_written_ones() -> None:
    """400 found prompts count as 80 written ones, which count alike, whatever their file's size."""
    rows = [
        *rows_of("pool.jsonl", "code", 400, is_found=True),
        *rows_of("sitting-1.jsonl", "code", 60, is_found=False),
        *rows_of("sitting-2.jsonl", "code", 20, is_found=False),
        *rows_of("sitting-2.jsonl", "general", 10, is_found=False),
    ]
    weights = row_weights(rows)
    assert weights[:400].sum() == pytest.approx(weights[400:480].sum())
    assert weights[400] == pytest.approx(weights[479])
    assert weights[480:].sum() == pytest.approx(weights[:480].sum())
    assert weights.mean() == pytest.approx(1)
